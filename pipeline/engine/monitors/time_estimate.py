"""Estimate how far a build is and how long it will go on, from what its steps usually take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.engine.record.events import StepAhead


class TimeEstimate:
    """Knows the steps of one build. What waits for memory or for another process takes longer than it estimates."""

    def __init__(self, steps: Sequence[StepAhead]) -> None:
        self._steps = steps
        self._done: set[str] = set()

    def done(self, step: str) -> None:
        """Note that the step is over, or had nothing to do."""
        self._done.add(step)

    def share(self, running: Mapping[str, float]) -> float:
        """Return how much of the work is done, 0 to 1; ``running`` says it of each step that runs.

        Steps count by what they usually take; if that isn't known of all, each counts the same.
        """
        known = all(step.expected is not None for step in self._steps)
        weights = {step.name: (step.expected or 0.01) if known else 1.0 for step in self._steps}
        done = sum(weight * (1.0 if name in self._done else running.get(name, 0.0)) for name, weight in weights.items())
        return done / (sum(weights.values()) or 1.0)

    def left(self, running: Mapping[str, float]) -> float | None:
        """Return how many seconds it will go on; ``running`` says how many each step has run. ``None`` if nobody
        knows.
        """
        ends: dict[str, float] = {}
        for step in self._steps:
            own = 0.0
            if step.name not in self._done:
                if step.expected is None:
                    return None
                own = max(0.0, step.expected - running.get(step.name, 0.0))
            ends[step.name] = own + max((ends[name] for name in step.after), default=0.0)
        return max(ends.values(), default=0.0)
