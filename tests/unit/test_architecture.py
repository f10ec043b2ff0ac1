"""The house's rules, held by tests: floors, linters, one way to run a process, locks that agree."""

from __future__ import annotations

import ast
import functools
import gc
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.cli import lint
from pipeline.host.system import process

LONGEST_MODULE = 350
IMAGE_SERVICE = CHECKOUT / "pipeline" / "imageservice"

# For each contract in pyproject.toml an import that it forbids: which module must not say what.
FORBIDDEN = {
    "Rooms import only what lies below them": ("base/home.py", "import pipeline.host.system.process"),
    "Building and publishing reach the image service over HTTP": (
        "publishing/cloud/http.py",
        "from pipeline.imageservice import errors",
    ),
    "Nothing imports the tasks": ("engine/plan/plan.py", "import tasks"),
    "The image service and image files need no more of the host than host.system": (
        "image/convert.py",
        "from pipeline.host.qemu import command",
    ),
    "Only the host's rooms know libguestfs": ("steps/scan.py", "import guestfs"),
    "A step knows no other step": ("steps/scan.py", "import pipeline.steps.digest"),
    "Rooms of the image service import only what lies below them": (
        "imageservice/stores/base.py",
        "from pipeline.imageservice.lifecycle import deletion",
    ),
    "Interfaces parse and render: they ask no rule, and know neither catalog nor stores": (
        "imageservice/api/tasks.py",
        "from pipeline.imageservice.catalog.tasks import queue",
    ),
    "Options import nothing but base and errors": (
        "imageservice/api/options.py",
        "from pipeline.imageservice.api import parameters",
    ),
    "Nothing imports itself by way of others": (
        "imageservice/lifecycle/view.py",
        "from pipeline.imageservice.lifecycle import locations",
    ),
}


@functools.cache
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


@pytest.fixture(scope="module", autouse=True)
def _trees() -> Iterator[None]:
    """Parse each module once. The garbage collector would look through all trees again and again."""
    gc.disable()
    yield
    _parsed.cache_clear()
    gc.enable()


def _lint_imports(folder: Path) -> process.Finished:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    return process.run([*command, "--no-cache"], cwd=folder, env=environment, check=False)


@pytest.mark.subprocess
def test_imports_keep_the_contracts() -> None:
    done = _lint_imports(CHECKOUT)
    assert done.status == 0, f"\n{done.stdout}{done.stderr}"


@pytest.mark.subprocess
def test_each_contract_sees_what_it_forbids(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    for module, line in FORBIDDEN.values():
        with (tmp_path / "pipeline" / module).open("a") as file:
            file.write(f"\n{line}\n")
    said = _lint_imports(tmp_path).stdout
    assert set(re.findall(r"^(.+) BROKEN", said, re.MULTILINE)) == set(FORBIDDEN), said


def test_each_contract_has_an_import_that_it_forbids() -> None:
    contracts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert [contract["name"] for contract in contracts] == list(FORBIDDEN)


def step_rooms() -> set[str]:
    """The modules and packages in ``steps`` that hold a step: a class that says at which ``stage`` it runs."""
    folder = CHECKOUT / "pipeline" / "steps"
    found = set()
    for path in folder.rglob("*.py"):
        classes = [node for node in ast.walk(_parsed(path.read_text())) if isinstance(node, ast.ClassDef)]
        if any(ast.unparse(line).startswith("stage = Stage.") for each in classes for line in each.body):
            found.add(path.relative_to(folder).with_suffix("").parts[0])
    return found


def test_what_steps_may_share_is_no_step() -> None:
    contracts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    ignored = next(each["ignore_imports"] for each in contracts if each["name"] == "A step knows no other step")
    assert not {line.rpartition(".")[2] for line in ignored} & step_rooms()
    assert {"sign", "tiny"} <= step_rooms()


# What an interface has no business with on the service: acts in ``lifecycle`` ask these, so that none can be skipped.
BEHIND_ACTS = {"database", "identity", "limits", "policy", "protections", "staging"}


def _shortcuts(source: str) -> list[str]:
    """What is taken from a service past its acts."""
    found = [node for node in ast.walk(_parsed(source)) if isinstance(node, ast.Attribute)]
    owners = ("service", "_service")
    return [
        ast.unparse(node)
        for node in found
        if node.attr in BEHIND_ACTS and ast.unparse(node.value).rpartition(".")[2] in owners
    ]


def test_interfaces_act_through_lifecycle_only() -> None:
    interfaces = [folder for name in ("api", "dashboard") if (folder := IMAGE_SERVICE / name).is_dir()]
    found = {
        str(path.relative_to(CHECKOUT)): shortcuts
        for folder in interfaces
        for path in folder.rglob("*.py")
        if (shortcuts := _shortcuts(path.read_text()))
    }
    assert not found
    assert _shortcuts("self.service.policy.require(caller, 'get_image')") == ["self.service.policy"]


STARTERS = re.compile(
    r"subprocess\.(run|Popen|call|check_call|check_output|getoutput|getstatusoutput)"
    r"|os\.(system|popen|spawn\w*|posix_spawnp?)|asyncio\.create_subprocess_\w+|pexpect\.\w+"
)

STARTER_WORDS = re.compile(r"subprocess|system|popen|spawn|pexpect")


def _starters(source: str) -> list[str]:
    if not STARTER_WORDS.search(source):
        return []
    calls = [ast.unparse(node.func) for node in ast.walk(_parsed(source)) if isinstance(node, ast.Call)]
    return [call for call in calls if STARTERS.fullmatch(call)]


def test_one_way_to_run_a_process() -> None:
    found = {
        str(path.relative_to(CHECKOUT)): calls
        for path in (CHECKOUT / "pipeline").rglob("*.py")
        if (calls := _starters(path.read_text()))
    }
    assert set(found) <= {"pipeline/host/system/process.py"}, found


def test_a_second_way_to_run_a_process_is_seen() -> None:
    assert _starters("import subprocess\nsubprocess.run(['true'])") == ["subprocess.run"]


def test_one_way_to_lock() -> None:
    found = [
        path for path in (CHECKOUT / "pipeline").rglob("*.py") if re.search(r"\b(flock|lockf)\(", path.read_text())
    ]
    assert [str(path.relative_to(CHECKOUT)) for path in found] == ["pipeline/base/locks.py"]


# The service's own bodies have errors of their own; the programs of the sandbox stand alone there.
READERS = {
    "pipeline/base/json_text.py",
    "pipeline/imageservice/api/resource.py",
    "pipeline/steps/kickstart/renderer.py",
    "pipeline/steps/kickstart/validator.py",
}


def test_one_way_to_read_json() -> None:
    found = {
        str(path.relative_to(CHECKOUT))
        for path in (CHECKOUT / "pipeline").rglob("*.py")
        if re.search(r"\bjson\.loads?\(", path.read_text())
    }
    assert found <= READERS


def test_one_way_to_draw_on_a_terminal() -> None:
    # rich's own console and table let outside text command the terminal.
    found = [
        str(path.relative_to(CHECKOUT))
        for path in (CHECKOUT / "pipeline").rglob("*.py")
        if re.search(r"^\s*(from|import) rich\.(console|table)\b", path.read_text(), re.MULTILINE)
    ]
    assert found == ["pipeline/base/terminal.py"]


# A pause that grows with the number of attempts, or one that chance makes.
BACK_OFF = re.compile(
    r"\b2(\.0)? ?\*\* ?\(?[\w.]*(attempt|tr(y|ies)|failures)|random\.(uniform|random)\(|_PAUSE \* \w*attempt"
)
_POLLS = {"pipeline/publishing/transaction/cloud_lock.py"}  # rivals for one lock: chance decides between equals


def test_one_retry_policy() -> None:
    found = {
        str(path.relative_to(CHECKOUT))
        for path in (CHECKOUT / "pipeline").rglob("*.py")
        if BACK_OFF.search(path.read_text())
    }
    assert found == {"pipeline/base/retry.py"} | _POLLS


def test_a_second_retry_policy_is_seen() -> None:
    for formula in ("time.sleep(0.25 * 2**attempt)", "_PAUSE * attempt", "random.uniform(0, 1)", "2 ** self.tries"):
        assert BACK_OFF.search(formula)


CHANCE = re.compile(r"uuid\d\(\)|os\.urandom|secrets\.\w+|time\.time|now\(")


def _chance(source: str) -> list[str]:
    """What differs from run to run among the parameters, and so in the names, of tests."""
    if not CHANCE.search(source):
        return []
    trees = [node for node in ast.walk(_parsed(source)) if isinstance(node, ast.FunctionDef)]
    marks = [ast.unparse(mark) for function in trees for mark in function.decorator_list]
    found = [CHANCE.findall(mark) for mark in marks if "parametrize" in mark]
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


SMALL_MODULE = 60
_KEPT_SMALL = CHECKOUT / "tests" / "small_modules.txt"


def _imported(tree: ast.AST) -> set[str]:
    """The names of all modules that an import may mean."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    return found


def _floor(module: str) -> list[str]:
    """The room, of those that the layers are made of, in which a module lies."""
    parts = module.split(".")
    return parts[: 3 if parts[1] == "imageservice" else 2]


def _small_with_one_importer(sources: Mapping[str, str]) -> dict[str, str]:
    """Modules under 60 lines that one other module uses, on the same floor, with that module."""
    importers: dict[str, list[str]] = {}
    for name, source in sources.items():
        for each in _imported(_parsed(source)) & (set(sources) - {name}):
            importers.setdefault(each, []).append(name)
    return {
        name: used_by[0]
        for name, used_by in importers.items()
        if len(used_by) == 1 and len(sources[name].splitlines()) < SMALL_MODULE and _floor(name) == _floor(used_by[0])
    }


def test_a_small_module_with_one_importer_is_a_concept() -> None:
    files = [path for path in (CHECKOUT / "pipeline").rglob("*.py") if path.name != "__init__.py"]
    sources = {".".join(path.relative_to(CHECKOUT).with_suffix("").parts): path.read_text() for path in files}
    lines = [line for line in _KEPT_SMALL.read_text().splitlines() if line and not line.startswith("#")]
    kept = {f"pipeline.{name}": reason for name, reason in (line.split(": ", 1) for line in lines)}
    assert not kept.keys() - sources.keys(), "tests/small_modules.txt names modules that are gone"
    small = _small_with_one_importer(sources)
    # Each key of recipes has a module of its own, as CONTRIBUTING.md tells to write it.
    found = {name: user for name, user in small.items() if not name.startswith("pipeline.recipes.model.")}
    assert not {name: user for name, user in found.items() if name not in kept}, (
        "merge it into its importer, or say in tests/small_modules.txt what concept it is"
    )


def test_a_small_module_with_one_importer_is_seen() -> None:
    own, floor = "pipeline.host.system.own", "pipeline.base.own"
    user = f"from pipeline.host.system import own, shared\nimport {floor}\n"
    sources = {own: "", floor: "", "pipeline.host.user": user, "pipeline.host.system.shared": ""}
    other = {"pipeline.host.other": "from pipeline.host.system.shared import x"}
    assert _small_with_one_importer(sources | other) == {own: "pipeline.host.user"}


def _shared_class_names(sources: Mapping[str, str]) -> dict[str, list[str]]:
    """Names that more than one module gives to a class, with those modules."""
    found: dict[str, list[str]] = {}
    for path, source in sources.items():
        for node in _parsed(source).body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(path)
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def test_a_class_name_means_one_thing() -> None:
    # Whoever reads or searches for a name must not have to ask which one is meant.
    paths = sorted((CHECKOUT / "pipeline").rglob("*.py"))
    assert not _shared_class_names({str(path.relative_to(CHECKOUT)): path.read_text() for path in paths})


def test_a_class_name_that_means_two_things_is_seen() -> None:
    assert _shared_class_names({"a.py": "class Store: ...", "b.py": "class Store: ...\nclass Other: ..."}) == {
        "Store": ["a.py", "b.py"]
    }


NO_VERB = re.compile(
    r"(the|an?|what|how|whether|where|which|who|whose|why|every|all|each|everything|nothing|one|this|from|(?!bring)\w+ing|\W.*)",
    re.IGNORECASE,
)


def _opens_without_verb(source: str) -> bool:
    """Return whether a module's docstring does not say, as a command, what the module does."""
    says = ast.get_docstring(_parsed(source)) or "Nothing"
    return bool(NO_VERB.fullmatch(says.split()[0].rstrip(".,:;")))


def test_a_modules_docstring_begins_with_a_verb() -> None:
    paths = [path for path in sorted((CHECKOUT / "pipeline").rglob("*.py")) if path.read_text().strip()]
    assert not [str(path.relative_to(CHECKOUT)) for path in paths if _opens_without_verb(path.read_text())]


def test_a_docstring_without_a_verb_is_seen() -> None:
    assert _opens_without_verb('"""What stores hold."""')
    assert _opens_without_verb('"""Ending an import early."""')
    assert not _opens_without_verb('"""Cancel and retry imports."""')


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


@pytest.mark.subprocess
def test_scripts_can_be_run() -> None:
    # Those in the package are data that goes into guests, which get their modes there.
    ours = [file for file in lint.scripts() if CHECKOUT / "pipeline" not in file.parents]
    assert [str(file) for file in ours if not file.stat().st_mode & 0o100] == []
