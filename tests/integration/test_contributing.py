"""Follow CONTRIBUTING.md to the letter, in a copy of this checkout: what it tells to write has to pass the checks."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.host.system import process

pytestmark = pytest.mark.slow

_BLOCK = re.compile(r"^ *```(?:python (new|end)=(\S+)|(diff))\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
Run = Callable[..., process.Finished]


def follow(text: str, folder: Path) -> list[Path]:
    """Do in ``folder`` what the code blocks of ``text`` tell; the files that were written."""
    written = []
    for act, name, _, body in _BLOCK.findall(text):
        code = textwrap.dedent(body)
        if act == "new":
            path = folder / name
            assert not path.exists(), f"{name} is there already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code)
        elif act == "end":
            path = folder / name
            path.write_text(f"{path.read_text()}\n\n{code}")
        else:
            path = _changed(folder, code.splitlines())
        written.append(path)
    return written


def _changed(folder: Path, lines: list[str]) -> Path:
    """Insert each line that begins with a plus sign behind the line above it."""
    path = folder / lines[0].removeprefix("--- ")
    text, place = path.read_text().splitlines(), 0
    for line in lines[1:]:
        if line.startswith("+"):
            place += 1
            text.insert(place, line[1:])
            continue
        (place,) = [number for number, old in enumerate(text) if old.strip() == line.strip()]
    path.write_text("\n".join(text) + "\n")
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """The copy, and the files that following the text has written."""
    folder = tmp_path_factory.mktemp("contributing") / "checkout"
    for name in ("pipeline", "tests", "recipes", "kickstarts", "docs", "requirements"):
        shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("tasks.py", "pyproject.toml", "inv"):
        shutil.copy2(CHECKOUT / name, folder / name)
    return folder, follow((CHECKOUT / "CONTRIBUTING.md").read_text(), folder)


@pytest.fixture
def run(written: tuple[Path, list[Path]]) -> Run:
    """Runs a Python module in the copy."""
    folder, _ = written

    def python(*words: str | Path, check: bool = True) -> process.Finished:
        env = {"PYTHONPATH": str(folder), "PIPELINE_HOME": str(folder / ".pipeline")}
        return process.run([sys.executable, "-m", *words], cwd=folder, env=env, check=check)

    return python


def test_all_six_things_are_written(written: tuple[Path, list[Path]]) -> None:
    folder, files = written
    names = {str(file.relative_to(folder)) for file in files}
    for part in (
        "cli/commands/",
        "recipes/model/",
        "steps/",
        "engine/registry",
        "imageservice/stores/registry",
        "host/preflight",
    ):
        assert [name for name in names if name.startswith(f"pipeline/{part}")], part


def test_it_is_fit_in_style_and_form(run: Run, written: tuple[Path, list[Path]]) -> None:
    code = [file for file in written[1] if file.suffix == ".py"]
    for words in (("ruff", "check"), ("ruff", "format", "--diff")):
        done = run(*words, *code, check=False)
        assert done.status == 0, done.stdout + done.stderr


def test_it_is_fit_in_types_and_architecture(run: Run, written: tuple[Path, list[Path]]) -> None:
    done = run("mypy", *(file for file in written[1] if file.suffix == ".py"), check=False)
    assert done.status == 0, done.stdout + done.stderr
    done = run(
        "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/test_architecture.py", "-k", "not scripts", check=False
    )
    assert done.status == 0, done.stdout + done.stderr


def test_the_task_is_listed_and_runs(run: Run) -> None:
    assert "Tell how much everything that is kept here takes." in run("pipeline.cli", "--list").stdout
    assert re.fullmatch(r'\{"bytes": \d+\}\n', run("pipeline.cli", "home.size", "--json").stdout)


def test_the_step_is_planned_where_it_is_wanted(run: Run, written: tuple[Path, list[Path]]) -> None:
    recipe = written[0] / "recipes" / "limited.yaml"
    recipe.write_text("extends: tiny\nsize_limit:\n  largest: 1GiB\n")
    assert "size_limit" in run("pipeline.cli", "plan", "limited").stdout
    assert "size_limit" not in run("pipeline.cli", "plan", "tiny").stdout
    run("pipeline.cli", "schema")
    assert "The most that each file may take" in (written[0] / "docs" / "recipes.md").read_text()


def test_the_store_keeps_the_contract_and_is_configured(run: Run, written: tuple[Path, list[Path]]) -> None:
    done = run("pytest", "-q", "-p", "no:cacheprovider", "tests/unit/imageservice/stores/scratch", check=False)
    assert done.status == 0, done.stdout
    run("pipeline.cli", "schema")
    assert "Images in a folder that may vanish" in (written[0] / "docs" / "image-service-settings.md").read_text()


@pytest.mark.parametrize("first", ["scratch.options", "scratch.store", "options", "registry"])
def test_whichever_module_of_the_store_is_imported_first_there_is_no_circle(
    written: tuple[Path, list[Path]], first: str
) -> None:
    code = f"import pipeline.imageservice.stores.{first} as it; print(it.__file__)"
    done = process.run([sys.executable, "-c", code], cwd=written[0], env={"PYTHONPATH": str(written[0])})
    assert done.stdout.startswith(str(written[0]))


def test_the_doctor_finds_the_rule(run: Run, written: tuple[Path, list[Path]]) -> None:
    asked = "list(doctor.examine(Home.default(), only=['home link']))"
    script = written[0] / "ask.py"
    script.write_text(
        "from pipeline.base.home import Home\nfrom pipeline.cli import checkup\nfrom pipeline.host import doctor\n"
        f"checkup.load_rules()\nprint({asked})\n"
    )
    assert "is no link" in run("ask").stdout
