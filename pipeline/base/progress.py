"""Progress as data: work reports events, monitors render them.

A room that works for long takes a ``Progress`` and calls it; it never prints. ``nothing`` is the silent one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pipeline.base.errors import PipelineError


class Progress(Protocol):
    """Receives the progress of one piece of work."""

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """``done`` of ``total`` (``None``: unknown) in ``unit`` (``"B"`` bytes, ``"%"``, or a noun)."""

    def say(self, text: str) -> None:
        """What is being done now, in a few words: "waiting for the guest to boot"."""


class Part(Progress, Protocol):
    """The progress of one part of a piece of work."""

    def ended(self, error: PipelineError | None) -> None:
        """It is over; with ``error`` it failed."""


class Nothing:
    """A progress that nobody watches."""

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """Ignore it."""

    def say(self, text: str) -> None:
        """Ignore it."""

    def ended(self, error: PipelineError | None) -> None:
        """Ignore it."""


nothing = Nothing()


def part_of(progress: Progress, name: str) -> Part:
    """The part ``name`` of a progress, where that can show parts."""
    part: Callable[[str], Part] | None = getattr(progress, "part", None)
    return part(name) if part is not None else nothing
