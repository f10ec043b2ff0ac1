"""What holds for every test, seen in its text."""

import ast
import re
from pathlib import Path

from pipeline.base.home import CHECKOUT
from tests import side_by_side

# What no module of its own answers for, with the reason.
_CROSS_CUTTING = {
    "imageservice/stores/test_identity.py": "one rule that the drivers of all stores keep",
    "test_architecture.py": "the rules of the house",
    "test_tests.py": "the rules of the tests",
    "test_security_page.py": "docs/security.md",
    "test_docs_examples.py": "the examples in the documents",
    "test_skips.py": "tests/skips.py",
    "test_benchmarks.py": "benchmarks/",
    "test_elapsed.py": "tests/elapsed.py",
}
# Folders and modules of other tests that speak of no room in pipeline/.
_WHOLES = {
    "integration/environments": "tests/environments, which start servers",
    "integration/test_checkout.py": "documents, hooks and scripts at the top",
    "integration/test_ci_examples.py": "docs/ci",
    "integration/test_contributing.py": "CONTRIBUTING.md",
    "integration/test_inv.py": "inv",
    "integration/test_side_by_side.py": "tests/side_by_side.py",
    "guest/test_cloud_images.py": "recipes/, whole",
}


def _mirrored(path: Path) -> bool:
    """Return whether a unit test's module (or room) lies where the test does; of other tests, whether the room does."""
    kind, *rooms, name = path.parts
    room = CHECKOUT.joinpath("pipeline", *rooms)
    if kind != "unit":
        return bool(rooms) and room.is_dir()
    module = room / name.removeprefix("test_")
    return module.is_file() or module.with_suffix("").is_dir()


def test_tests_mirror_the_tree() -> None:
    """Whoever knows a module knows where its tests are, and the other way round."""
    files = {file.relative_to(CHECKOUT / "tests") for file in (CHECKOUT / "tests").rglob("test_*.py")}
    elsewhere = {str(file) for file in files if not _mirrored(file)}
    allowed = {f"unit/{name}" for name in _CROSS_CUTTING}
    wholes = {name for name in elsewhere if any(name == whole or name.startswith(f"{whole}/") for whole in _WHOLES)}
    assert elsewhere - wholes == allowed
    assert all(any(name.startswith(whole) for name in wholes) for whole in _WHOLES)


def test_a_test_that_lies_elsewhere_is_seen() -> None:
    assert _mirrored(Path("unit/host/diagnosis/test_stall.py"))
    assert not _mirrored(Path("unit/host/test_stall.py"))
    assert not _mirrored(Path("integration/test_stall.py"))
    assert not _mirrored(Path("guest/diagnosis/test_stall.py"))


# Servers that take long to start, by the names of their fixtures.
_DEAR = {"ceph", "ceph_on_disk", "gateway", "keystone", "swift"}


def _asks_for(source: str) -> set[str]:
    """The fixtures that functions of a test module name as their arguments."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    return {argument.arg for function in functions for argument in function.args.args}


def test_what_needs_the_same_dear_server_stays_together() -> None:
    """Elsewhere each process of ``./inv test`` would start one of its own."""
    tests = CHECKOUT / "tests"
    needing = [
        file for file in sorted((tests / "integration").rglob("test_*.py")) if _asks_for(file.read_text()) & _DEAR
    ]
    shares = {str(file.relative_to(CHECKOUT)): side_by_side.share(str(file.relative_to(CHECKOUT))) for file in needing}
    assert [file for file, share in shares.items() if share != "Ceph, Swift and Keystone"] == []


def test_what_stays_together_exists() -> None:
    places = [place for places in side_by_side.TOGETHER.values() for place in places]
    assert [place for place in places if not (CHECKOUT / place).exists()] == []


def _gone(table: str) -> list[str]:
    """What a table of tests names and is not there."""
    named = re.findall(r"`(\S+\.py)::(test_\w+)(?:\[[^`]*\])?`", table)
    assert len(named) == sum(line.startswith("| ") for line in table.splitlines()) - 1, "a row has no test's name"
    tests = [(CHECKOUT / "tests" / file, function) for file, function in named]
    return [
        f"{file}::{function}"
        for file, function in tests
        if not file.is_file() or not re.search(rf"^\s*(async )?def {function}\(", file.read_text(), re.MULTILINE)
    ]


def test_the_page_on_what_tests_cost_names_tests() -> None:
    assert _gone((CHECKOUT / "docs/tests.md").read_text()) == []


def test_a_test_that_is_gone_from_the_page_is_seen() -> None:
    row = "| s | test |\n|---:|---|\n| 3 | `unit/test_tests.py::{}` |\n"
    assert _gone(row.format("test_tests_mirror_the_tree")) == []
    assert len(_gone(row.format("test_that_is_gone[x]"))) == 1
