"""Define what happens during a run, as data. The journal writes events down; monitors show them.

Every event says when it happened (seconds since the epoch) and, if it concerns one, which recipe and step.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened."""

    at: float = field(default_factory=time.time)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON data, with the kind of event."""
        return {"event": type(self).__name__, **dataclasses.asdict(self)}


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """A run began. ``folder`` holds its logs."""

    run: str
    folder: str
    recipes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RunNoted(Event):
    """Something worth saying that belongs to no recipe: what was swept, what is waited for."""

    text: str


@dataclass(frozen=True)
class StepAhead:
    """A step that a build may run: those it comes ``after``, and how many seconds it usually takes, or ``None``."""

    name: str
    after: tuple[str, ...]
    expected: float | None


@dataclass(frozen=True, kw_only=True)
class BuildStarted(Event):
    """A recipe's build began. ``steps`` are all of them, each behind those it comes after."""

    recipe: str
    steps: tuple[StepAhead, ...]


@dataclass(frozen=True, kw_only=True)
class StepEvent(Event):
    """Something that concerns one step of one recipe."""

    recipe: str
    step: str


@dataclass(frozen=True, kw_only=True)
class StepCached(StepEvent):
    """The step's result was there; ``seconds`` is what making it took."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class StepWaiting(StepEvent):
    """The step cannot start yet, for this reason."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class StepStarted(StepEvent):
    """The step began. ``expected`` is how long it took before, in seconds, or ``None``; ``log`` is its log file."""

    log: str
    expected: float | None = None


@dataclass(frozen=True, kw_only=True)
class StepProgress(StepEvent):
    """The step came so far."""

    done: int
    total: int | None
    unit: str


@dataclass(frozen=True, kw_only=True)
class StepSaid(StepEvent):
    """What the step does now, or a warning about it."""

    text: str


@dataclass(frozen=True, kw_only=True)
class StepFinished(StepEvent):
    """The step ended well."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class StepFailed(StepEvent):
    """The step ended badly. ``evidence`` is a folder, or ``None`` when there is none."""

    message: str
    hint: str | None
    details: tuple[str, ...]
    seconds: float
    log: str | None
    evidence: str | None


@dataclass(frozen=True, kw_only=True)
class BuildFinished(Event):
    """A recipe's build ended. ``changed``: whether any step ran; ``interrupted``: whether the run was told to end."""

    recipe: str
    good: bool
    changed: bool
    seconds: float
    products: tuple[str, ...]
    interrupted: bool = False


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """The run ended."""

    run: str
    good: bool
    seconds: float


class Monitor(Protocol):
    """Shows a run to somebody."""

    def event(self, event: Event) -> None:
        """Take note of what happened."""

    def tick(self) -> None:
        """Move clocks on: time has passed. Called a few times a second."""

    def close(self) -> None:
        """Leave the terminal in order: the run is over, or was broken off."""
