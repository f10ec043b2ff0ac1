"""How long steps take here: what is usual, when one is slower than that, and when it has had long enough."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pipeline.engine.entry import Entry
from pipeline.engine.history import History, Usual
from pipeline.host.stall import Policy

# Deadlines are set for an emulated processor; a real one needs at most this share of them.
_KVM_SHARE = 0.25
# With so many runs to learn from, a step is given this many times its median, but never less than the floor.
_LEARNED_RUNS = 5
_LEARNED_FACTOR = 10.0
_FLOOR = 300.0  # seconds


def deadlines(entry: Entry, recipe: str, history: History) -> dict[str, float]:
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
_PATIENCE = {"kvm": Policy(300.0), "tcg": Policy(900.0)}


def patience(accelerator: str) -> Policy:
    """How long a guest may get nowhere."""
    return _PATIENCE[accelerator]


@dataclass
class _Step:
    begun: float
    usual: Usual | None
    told: bool = False


class Pace:
    """Watches the steps of a run."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._steps: dict[tuple[str, str], _Step] = {}

    def expected(self, recipe: str, step: str) -> float | None:
        """How many seconds a step usually takes, or ``None`` if it never ran here."""
        usual = self._history.usual(recipe, step)
        return usual.median if usual else None

    def begin(self, recipe: str, step: str) -> float | None:
        """A step begins; return how many seconds it usually takes."""
        usual = self._history.usual(recipe, step)
        self._steps[recipe, step] = _Step(time.monotonic(), usual)
        return usual.median if usual else None

    def end(self, recipe: str, step: str) -> None:
        """The step is over."""
        self._steps.pop((recipe, step), None)

    def slow(self) -> list[tuple[str, str, float]]:
        """Steps that have just become slower than usual: recipe, step, and what is usual in seconds."""
        now = time.monotonic()
        found = []
        for (recipe, name), step in self._steps.items():
            if step.usual is not None and not step.told and now - step.begun > step.usual.slow:
                step.told = True
                found.append((recipe, name, step.usual.median))
        return found
