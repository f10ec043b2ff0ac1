"""Report progress as data: work reports events, monitors render them.

A room that works for long takes a ``Progress`` and calls it; it never prints. ``nothing`` is the silent one.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from pipeline.base.errors import PipelineError


class Progress(Protocol):
    """Receives the progress of one piece of work."""

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """Report ``done`` of ``total`` (``None``: unknown) in ``unit`` (``"B"`` bytes, ``"%"``, or a noun)."""

    def say(self, text: str) -> None:
        """Report what is being done now, in a few words: "waiting for the guest to boot"."""


class ProgressPart(Progress, Protocol):
    """The progress of one part of a piece of work."""

    def ended(self, error: PipelineError | None) -> None:
        """Note that it is over; with ``error`` it failed."""


@runtime_checkable
class ShowsParts(Protocol):
    """What a progress has, beside everything else, when it can show parts."""

    def part(self, name: str) -> ProgressPart:
        """Return the progress of the part ``name``."""


class NoProgress:
    """A progress that nobody watches."""

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """Ignore it."""

    def say(self, text: str) -> None:
        """Ignore it."""

    def ended(self, error: PipelineError | None) -> None:
        """Ignore it."""


nothing = NoProgress()


def part_of(progress: Progress, name: str) -> ProgressPart:
    """Return the part ``name`` of a progress, where that can show parts."""
    return progress.part(name) if isinstance(progress, ShowsParts) else nothing
