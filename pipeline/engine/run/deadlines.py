"""Set deadlines from how long steps take here: what is usual, what is slower than that, and what is too long."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pipeline.engine.record.history import BuildHistory, UsualDuration
from pipeline.engine.units.step_entry import StepEntry
from pipeline.host.diagnosis.stall import StallPolicy

# Deadlines are set for an emulated processor; a real one needs at most this share of them.
_KVM_SHARE = 0.25
# With so many runs to learn from, a step is given this many times its median, but never less than the floor.
_LEARNED_RUNS = 5
_LEARNED_FACTOR = 10.0
_FLOOR = 300.0  # seconds


def deadlines(entry: StepEntry, recipe: str, history: BuildHistory) -> dict[str, float]:
    """After how many seconds the step is ended, by accelerator."""
    found = {}
    for accelerator, share in (("kvm", _KVM_SHARE), ("tcg", 1.0)):
        longest = entry.deadline * share
        usual = history.usual(recipe, entry.name, accelerator)
        if usual is not None and usual.runs >= _LEARNED_RUNS:
            learned = max(_FLOOR, _LEARNED_FACTOR * usual.median, 2 * usual.slowest)
            longest = min(longest, learned)
        found[accelerator] = longest
    return found


# How long nothing in a guest may move before it is taken for stuck. Installers think for minutes when emulated.
_STALL_POLICIES = {"kvm": StallPolicy(300.0), "tcg": StallPolicy(900.0)}


def stall_policy(accelerator: str) -> StallPolicy:
    """Return how long a guest may get nowhere."""
    return _STALL_POLICIES[accelerator]


@dataclass
class _Step:
    begun: float
    usual: UsualDuration | None
    is_reported: bool = False


class DeadlineWatch:
    """Watches the steps of a run."""

    def __init__(self, history: BuildHistory) -> None:
        self._history = history
        self._steps: dict[tuple[str, str], _Step] = {}

    def expected(self, recipe: str, step: str) -> float | None:
        """Return how many seconds a step usually takes, or ``None`` if it never ran here."""
        usual = self._history.usual(recipe, step)
        return usual.median if usual else None

    def begin(self, recipe: str, step: str) -> float | None:
        """Note that a step begins; return how many seconds it usually takes."""
        usual = self._history.usual(recipe, step)
        self._steps[recipe, step] = _Step(time.monotonic(), usual)
        return usual.median if usual else None

    def end(self, recipe: str, step: str) -> None:
        """Note that the step is over."""
        self._steps.pop((recipe, step), None)

    def slow(self) -> list[tuple[str, str, float]]:
        """Return steps that have just become slower than usual: recipe, step, and what is usual in seconds."""
        now = time.monotonic()
        found = []
        for (recipe, name), step in self._steps.items():
            if step.usual is not None and not step.is_reported and now - step.begun > step.usual.slow:
                step.is_reported = True
                found.append((recipe, name, step.usual.median))
        return found
