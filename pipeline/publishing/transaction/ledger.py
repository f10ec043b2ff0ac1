"""Change a cloud only inside a step that the journal names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.publishing.cloud.errors import CloudNotFound
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.plan.chain_state import RunnerContext
from pipeline.publishing.plan.steps import Act, PlannedAct, acts
from pipeline.publishing.transaction.journal import PublishJournal


class Ledger:
    """Carries planned ``steps`` into the journal, one after the other.

    ``api`` changes nothing but inside ``step`` or ``undo``: a request that no plan has is a mistake of ours.
    """

    def __init__(self, api: ImageApi, journal: PublishJournal, steps: Sequence[PlannedAct]) -> None:
        self.steps = acts(steps)
        self.journal = journal
        self.api = api.guarded(self._require_named)
        self._named = False
        if self.steps:
            journal.note("plan", "", steps=[step.as_data() for step in self.steps])

    @contextlib.contextmanager
    def step(self, step: PlannedAct, image: str = "", **detail: Any) -> Iterator[None]:
        """Change the cloud as ``step`` says while the block runs.

        ``image``: the id of an image that did not exist when the step was planned.
        """
        number = self.steps.index(step) + 1
        with self._noted(str(step.act), image or step.image, step.why, step=number, of=len(self.steps), **detail):
            yield

    @contextlib.contextmanager
    def undo(self, act: str, image: str, why: str) -> Iterator[None]:
        """Take something back after a fault while the block runs."""
        with self._noted(act, image, why, undo=True):
            yield

    def carry_out_changes(self, context: RunnerContext) -> dict[str, ImageRecord]:
        """Carry out steps that only change records; the images as they are then, by id."""
        changed = {}
        for step in self.steps:
            with self.step(step):
                record = self.change(step.image, step, context)
            if record is not None:
                changed[step.image] = record
        return changed

    def change(self, image: str, step: PlannedAct, context: RunnerContext) -> ImageRecord | None:
        """Make the change of a record that an open step plans; ``None`` when an image to retire is gone already."""
        if step.change is None:
            raise AssertionError(f"{step.act} is more than a change of a record")
        try:
            return self.api.patch(image, step.change(context.moment))
        except CloudNotFound:
            if step.act is Act.RETIRE:
                return None  # somebody deleted it: gone is as good
            raise

    @contextlib.contextmanager
    def _noted(self, act: str, image: str, why: str, **detail: Any) -> Iterator[None]:
        self.journal.note(act, image, why, **detail)
        self._named = True
        try:
            yield
        finally:
            self._named = False

    def _require_named(self) -> None:
        if not self._named:
            raise AssertionError("a request would change the cloud that belongs to no step of a plan")
