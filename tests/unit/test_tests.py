"""What holds for every test, seen in its text."""

import ast
from collections.abc import Iterator

import pytest

from pipeline.base.home import CHECKOUT

_CLOCKS = ("monotonic", "perf_counter", "time", "monotonic_ns", "perf_counter_ns", "time_ns")


def _timed(source: str) -> Iterator[int]:
    """The lines that assert how long something took."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Assert):
            continue
        for part in ast.walk(node.test):
            if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub) and any(map(_reads_clock, ast.walk(part))):
                yield node.lineno


def _reads_clock(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in [f"time.{clock}" for clock in _CLOCKS]


def test_no_test_asserts_how_long_something_took() -> None:
    """A busy machine would fail it: assert the cause (an event, a count), and measure in ``benchmarks``."""
    files = sorted((CHECKOUT / "tests").rglob("*.py"))
    found = [f"{file.relative_to(CHECKOUT)}:{line}" for file in files for line in _timed(file.read_text())]
    assert found == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("assert time.monotonic() - begun < 3", [1]),
        ("assert 1 < time.perf_counter() - begun < 3, 'late'", [1]),
        ("assert time.monotonic() < deadline, 'it never ended'", []),
        ("left = deadline - time.monotonic()", []),
    ],
)
def test_how_long_something_took_is_seen_in_an_assertion(line: str, found: list[int]) -> None:
    assert list(_timed(line)) == found
