"""Holds the code that a step really runs against what its key holds.

While a step's ``run`` or ``inputs`` is going on, in whichever process, each function of the product that is entered
and each data file of it that is opened has to be part of the step's code digests, or to be without effect.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.engine import registry
from pipeline.engine.keys import code_digests
from pipeline.engine.keys.closure import Tree
from pipeline.steps.step import Step

_PRODUCT = CHECKOUT / "pipeline"
# Where to note the files that are opened: a set for each block that is watched now.
_opened: list[set[str]] = []


class Escaped(AssertionError):
    """A step ran or read something that its key does not hold."""


@pytest.fixture(autouse=True, scope="session")
def traced_steps() -> Iterator[None]:
    """Have all steps watched in all tests of a folder, however they are run."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in {type(entry.step) for entry in registry.STEPS}:
            for name in ("run", "inputs"):
                function = getattr(kind, name)
                # Another folder's tests may have asked for it before.
                patch.setattr(kind, name, function if hasattr(function, "__wrapped__") else _watched(function))
        yield


def _watched(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def watched(step: Step, given: Any) -> Any:
        with watching() as (codes, files):
            found = function(step, given)
        if escaped := sorted(outside(step, codes, files)):
            raise Escaped(f"{type(step).__name__}: {', '.join(escaped)}")
        return found

    return watched


@contextlib.contextmanager
def watching() -> Iterator[tuple[set[CodeType], set[str]]]:
    """The code that is entered and the files of the product that are opened while the block lasts.

    ``sys.monitoring`` would cost less; Python 3.11 has none. No local trace function, so only calls are told.
    """
    codes: set[CodeType] = set()
    files: set[str] = set()

    def called(frame: FrameType, event: str, argument: object) -> None:
        codes.add(frame.f_code)

    before = sys.gettrace(), threading.gettrace()
    _listen()
    _opened.append(files)
    threading.settrace(called)
    sys.settrace(called)
    try:
        yield codes, files
    finally:
        sys.settrace(before[0])
        threading.settrace(before[1])
        _opened.remove(files)


def outside(step: Step, codes: set[CodeType], files: set[str]) -> set[str]:
    """What of it is the product's and neither held by the step's key nor without effect."""
    held = set(code_digests.of(step))
    tree = Tree(CHECKOUT)
    names = {name for code in codes if (name := _definition(code, tree)) and tree.counts(name)}
    # No step can import the engine: what is entered of it is how progress is reported, which the engine hands in.
    names = {name for name in names if not name.startswith("pipeline.engine.")}
    # Of its own class, the step's key holds one method after the other; of all others it holds everything.
    own = f"{type(step).__module__}.{type(step).__name__}"
    missing = {name for name in names if name not in held and held.isdisjoint({*_above(name)} - {own})}
    return missing | (files - held)


def _above(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts)))


def _definition(code: CodeType, tree: Tree) -> str | None:
    """The qualified name of a function of the product; of what is within it, its own."""
    file = Path(code.co_filename)
    if not file.is_relative_to(_PRODUCT) or code.co_name == "<module>":
        return None
    module = ".".join(file.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__")
    name = code.co_qualname.partition(".<locals>")[0]
    return f"{module}.{name if name.isidentifier() or '.' in name else _at(code.co_firstlineno, module, tree)}"


def _at(line: int, module: str, tree: Tree) -> str:
    """The constant that holds what has no name of its own."""
    parsed = tree.module(module)
    assert parsed is not None
    held = (
        name for name, nodes in parsed.bound.items() for each in nodes if each.lineno <= line <= (each.end_lineno or 0)
    )
    return next(held, "")


@functools.cache
def _listen() -> None:
    """An audit hook cannot be taken back."""
    sys.addaudithook(_heard)


def _heard(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _opened and isinstance(arguments[0], str):
        file = Path(arguments[0])
        if file.suffix not in {".py", ".pyc"} and file.is_relative_to(_PRODUCT) and file.is_file():
            for each in _opened:
                each.add(str(file.relative_to(CHECKOUT)))
