"""Show a bar for each store that an import fills, as far as the service reports it in the image's task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, ProgressPart, part_of


class ImportProgress:
    """The stores' progress; bars come when a store begins and go when it ends."""

    def __init__(self, progress: Progress, stores: Sequence[str]) -> None:
        self._progress, self._stores = progress, stores
        self._bars: dict[str, ProgressPart] = {}
        self._over: set[str] = set()

    def show(self, task: Mapping[str, Any]) -> tuple[int, ...]:
        """Move the bars to where the task says; returns the bytes done, store by store."""
        steps = task.get("progress")
        steps = steps if isinstance(steps, dict) else {}
        return tuple(self._move(store, steps[store]) for store in self._stores if isinstance(steps.get(store), dict))

    def close(self) -> None:
        """Take away what is left."""
        for store in list(self._bars):
            self._end(store, None)

    def _move(self, store: str, step: Mapping[str, Any]) -> int:
        done, total, state = step.get("done", 0), step.get("total"), step.get("state")
        if not isinstance(done, int) or store in self._over:
            return 0
        if state == "waiting":
            return 0
        if store not in self._bars:
            self._bars[store] = part_of(self._progress, f"store {store}")
        self._bars[store].advance(done, total if isinstance(total, int) else None)
        if state in ("done", "failed"):
            failed = PipelineError(str(step.get("error") or "failed")[:300]) if state == "failed" else None
            self._end(store, failed)
        return done

    def _end(self, store: str, error: PipelineError | None) -> None:
        self._over.add(store)
        self._bars.pop(store).ended(error)
