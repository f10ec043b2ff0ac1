"""Progress as data: work reports events, monitors render them.

A room that works for long takes a ``Progress`` and calls it; it never prints. ``nothing`` is the silent one.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of one piece of work."""

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """``done`` of ``total`` (``None``: unknown) in ``unit`` (``"B"`` bytes, ``"%"``, or a noun)."""

    def say(self, text: str) -> None:
        """What is being done now, in a few words: "waiting for the guest to boot"."""


class Nothing:
    """A progress that nobody watches."""

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """Ignore it."""

    def say(self, text: str) -> None:
        """Ignore it."""


nothing = Nothing()
