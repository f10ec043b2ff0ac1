"""The house's rules, held by tests: floors, linters, one way to run a process, locks that agree."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import grimp
import pytest

from pipeline.base.home import CHECKOUT
from pipeline.host import process

# An import may only point down; a room is a package below ``pipeline``.
FLOORS = {
    "base": 0,
    "host": 1,
    "image": 2,
    "signing": 3,
    "recipes": 3,
    "steps": 4,
    "imageservice": 4,
    "engine": 5,
    "publishing": 6,
    "face": 7,
}
# Lower, but closed all the same: these meet over HTTP.
FORBIDDEN = {("engine", "imageservice"), ("publishing", "imageservice")}
# The service and the code it stands on must run where there is no hypervisor and no libguestfs.
OF_HOST = {"pipeline.host", "pipeline.host.ports", "pipeline.host.process", "pipeline.host.sandbox"}
LONGEST_MODULE = 350

Edge = tuple[str, str]


def room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "pipeline" and len(parts) > 1 else None


def step_rooms() -> set[str]:
    """The modules and packages in ``steps`` that hold a step: a class that says at which ``stage`` it runs."""
    folder = CHECKOUT / "pipeline" / "steps"
    found = set()
    for path in folder.rglob("*.py"):
        classes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
        if any(ast.unparse(line).startswith("stage = Stage.") for each in classes for line in each.body):
            found.add(path.relative_to(folder).with_suffix("").parts[0])
    return found


def violations(edges: Iterable[Edge], steps: Collection[str]) -> Iterator[str]:
    for importer, imported in sorted(edges):
        above, below = room(importer), room(imported)
        if imported == "tasks":
            yield f"{importer} imports tasks.py"
        if above is None or below is None:
            continue
        if above != below and FLOORS[below] >= FLOORS[above]:
            yield f"{importer} imports {imported}: not below it"
        if (above, below) in FORBIDDEN:
            yield f"{importer} imports {imported}: {above} reaches it over HTTP only"
        if above in ("image", "imageservice") and below == "host" and imported not in OF_HOST:
            yield f"{importer} imports {imported}: of host, {above} may know only {sorted(OF_HOST)}"
        if above == below == "steps" and (step := _part(imported)) in steps and _part(importer) != step:
            yield f"{importer} imports {imported}: a step knows no other step"


def _part(module: str) -> str:
    """Which step, or helper of all steps, a module in ``steps`` belongs to."""
    return (*module.split("."), "")[2]


@pytest.fixture(scope="module")
def edges() -> set[Edge]:
    graph = grimp.build_graph("pipeline", include_external_packages=True, cache_dir=None)
    return {
        (importer, imported)
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    }


def test_every_room_has_a_floor() -> None:
    rooms = {path.parent.name for path in (CHECKOUT / "pipeline").glob("*/__init__.py")}
    assert rooms == set(FLOORS)


def test_imports_point_down(edges: set[Edge]) -> None:
    assert not list(violations(edges, step_rooms()))


def test_steps_are_found() -> None:
    assert {"sign", "tiny"} <= step_rooms()
    assert "step" not in step_rooms()


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("pipeline.base.home", "pipeline.host.process"),
        ("pipeline.signing.keys", "pipeline.recipes.model"),
        ("pipeline.imageservice.app", "pipeline.steps.step"),
        ("pipeline.publishing.cloud", "pipeline.imageservice.app"),
        ("pipeline.engine.plan", "pipeline.imageservice.app"),
        ("pipeline.image.convert", "pipeline.host.qemu"),
        ("pipeline.steps.install", "pipeline.steps.convert"),
        ("pipeline.engine.plan", "tasks"),
    ],
)
def test_a_forbidden_import_is_seen(importer: str, imported: str) -> None:
    assert list(violations([(importer, imported)], {"install", "convert"}))


def test_only_the_appliance_room_knows_libguestfs(edges: set[Edge]) -> None:
    assert {room(importer) for importer, imported in edges if imported == "guestfs"} <= {"host"}


STARTERS = re.compile(
    r"subprocess\.(run|Popen|call|check_call|check_output|getoutput|getstatusoutput)"
    r"|os\.(system|popen|spawn\w*|posix_spawnp?)|asyncio\.create_subprocess_\w+|pexpect\.\w+"
)


def _starters(source: str) -> list[str]:
    calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [call for call in calls if STARTERS.fullmatch(call)]


def test_one_way_to_run_a_process() -> None:
    found = {
        str(path.relative_to(CHECKOUT)): calls
        for path in (CHECKOUT / "pipeline").rglob("*.py")
        if (calls := _starters(path.read_text()))
    }
    assert set(found) <= {"pipeline/host/process.py"}, found


def test_a_second_way_to_run_a_process_is_seen() -> None:
    assert _starters("import subprocess\nsubprocess.run(['true'])") == ["subprocess.run"]


def _chance(source: str) -> list[str]:
    """What differs from run to run among the parameters, and so in the names, of tests."""
    trees = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    marks = [ast.unparse(mark) for function in trees for mark in function.decorator_list]
    found = [
        re.findall(r"uuid\d\(\)|os\.urandom|secrets\.\w+|time\.time|now\(", mark)
        for mark in marks
        if "parametrize" in mark
    ]
    return [call for calls in found for call in calls]


def test_tests_have_the_same_names_in_every_process() -> None:
    # Shards and parallel workers would not agree on what there is to run.
    found = {
        str(path.relative_to(CHECKOUT)): calls
        for path in (CHECKOUT / "tests").rglob("*.py")
        if (calls := _chance(path.read_text()))
    }
    assert not found
    assert _chance("@pytest.mark.parametrize('x', [os.urandom(3)])\ndef test(x): pass") == ["os.urandom"]


def test_modules_are_one_room_each() -> None:
    long = {
        str(path.relative_to(CHECKOUT)): lines
        for path in (CHECKOUT / "pipeline").rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > LONGEST_MODULE
    }
    assert not long, f"longer than {LONGEST_MODULE} lines: {long}"


def _locked(name: str) -> dict[str, str]:
    text = (CHECKOUT / "requirements" / name).read_text()
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", text, re.MULTILINE))


def test_the_locks_agree() -> None:
    runtime, dev = _locked("runtime.txt"), _locked("dev.txt")
    assert runtime.items() <= dev.items()


def test_the_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]

    def names(wanted: list[str]) -> set[str]:
        return {re.split(r"[\[<>=~! ;]", each)[0].lower().replace(".", "-").replace("_", "-") for each in wanted}

    assert names(project["dependencies"]) <= set(_locked("runtime.txt"))
    assert names(project["optional-dependencies"]["dev"]) <= set(_locked("dev.txt"))


def test_each_locked_package_has_a_digest() -> None:
    for name in ("runtime.txt", "dev.txt"):
        text = (CHECKOUT / "requirements" / name).read_text()
        blocks = re.split(r"\n(?=[A-Za-z0-9])", text)
        bare = [block.split("\n")[0] for block in blocks if "==" in block and "--hash=sha256:" not in block]
        assert not bare


def _tool(*command: str | Path) -> None:
    """Run a linter from this environment; on a finding the test shows what it printed."""
    done = process.run([sys.executable, "-m", *command], cwd=CHECKOUT, check=False)
    assert done.status == 0, f"\n{done.stdout}{done.stderr}"


@pytest.mark.subprocess
def test_style() -> None:
    _tool("ruff", "check", ".")


@pytest.mark.subprocess
def test_format() -> None:
    _tool("ruff", "format", "--diff", ".")


@pytest.mark.subprocess
def test_types() -> None:
    folders = [folder for folder in ("pipeline", "tests", "benchmarks") if any((CHECKOUT / folder).rglob("*.py"))]
    _tool("mypy", "tasks.py", *folders)


def _scripts() -> list[Path]:
    listed = process.run(["git", "ls-files", "-z"], cwd=CHECKOUT).stdout.split("\0")
    files = [CHECKOUT / name for name in listed if name and (CHECKOUT / name).is_file()]
    return [file for file in files if re.match(rb"#!.*\b(sh|bash)\b", file.read_bytes()[:64])]


@pytest.mark.subprocess
def test_shell_scripts() -> None:
    scripts = _scripts()
    assert CHECKOUT / "inv" in scripts
    # SC2187 only says that busybox's shell is checked as dash, which is what it descends from.
    done = process.run(["shellcheck", "--external-sources", "--exclude=SC2187", *scripts], cwd=CHECKOUT, check=False)
    assert done.status == 0, f"\n{done.stdout}{done.stderr}"


@pytest.mark.subprocess
def test_scripts_can_be_run() -> None:
    # Those in the package are data that goes into guests, which get their modes there.
    ours = [file for file in _scripts() if CHECKOUT / "pipeline" not in file.parents]
    assert [str(file) for file in ours if not file.stat().st_mode & 0o100] == []
