"""Waiting for several things at once, in one thread: each wait is a generator that looks once between two ``yield``.

Threads would do as well, if signals that end a step (its deadline, Ctrl-C) reached them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Mapping
from typing import TypeVar

_BREAK = 0.1  # seconds between two looks
_Made = TypeVar("_Made")


def alone(wait: Generator[None, None, _Made]) -> _Made:
    """Do nothing but this wait; return what it returns."""
    return together({"": wait})[""]


def together(waits: Mapping[str, Generator[None, None, _Made]]) -> dict[str, _Made]:
    """Go on with all ``waits`` in turn until each has returned. When one fails, the others are closed at once.

    What a signal raises between two looks is raised in each of them, as if it had been waiting itself.
    """
    made: dict[str, _Made] = {}
    with contextlib.ExitStack() as stack:
        for wait in waits.values():
            stack.callback(wait.close)
        while True:
            for name, wait in waits.items():
                if name not in made:
                    try:
                        next(wait)
                    except StopIteration as ended:
                        made[name] = ended.value
            if len(made) == len(waits):
                return made
            try:
                time.sleep(_BREAK)
            except Exception as error:
                for wait in waits.values():
                    with contextlib.suppress(type(error), StopIteration):
                        wait.throw(error)
                raise
