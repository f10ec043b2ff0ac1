"""Publish one recipe to one cloud as a transaction: all parts appear together, or the previous ones stay."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.errors import ChecksumMismatch, CloudError
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.ownership_marker import ImagePart, ImageState
from pipeline.publishing.cloud.patch import RecordPatch
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.plan.chain_state import ReconcileAction
from pipeline.publishing.plan.desired import HELD, restored
from pipeline.publishing.plan.observe import ObservedImage
from pipeline.publishing.plan.plan import PlanOutcome, PublishOptions, PublishPlan, plan
from pipeline.publishing.plan.steps import Act, PlannedAct, differences, retire
from pipeline.publishing.transaction.journal import PublishJournal
from pipeline.publishing.transaction.ledger import Ledger
from pipeline.publishing.transaction.part import PartTransaction, StalePlan, was_verified
from pipeline.publishing.transaction.readback import ReadBack
from pipeline.publishing.transaction.upload import CopyNotAllowed
from pipeline.signing.trust.certificates import CertificateSource

_ATTEMPTS = 3


class PublishOutcome(StrEnum):
    """How a publication ended; of several parts the last in this order tells."""

    UNCHANGED = "unchanged"
    LEFT_ALONE = "left alone"  # another image of this name exists, and only new ones were to be published
    CHANGED = "changed"  # the same bytes, another record
    PUBLISHED = "published"  # a new image is the newest
    HELD = "held back"  # a gate tripped; the previous image is still the newest
    WITHDRAWN = "withdrawn"  # a person took these bytes back; nothing was done
    NOT_BUILT = "not built"
    FAILED = "failed"

    @property
    def is_good(self) -> bool:
        """Whether consumers have what the recipe makes."""
        return self in (
            PublishOutcome.PUBLISHED,
            PublishOutcome.CHANGED,
            PublishOutcome.UNCHANGED,
            PublishOutcome.LEFT_ALONE,
        )


@dataclass(frozen=True)
class PartResult:
    """One image at the end of a publication. ``previous`` is the image it took the place of; ``waiting`` are members
    who still have to accept it.
    """

    part: ImagePart
    outcome: PublishOutcome
    record: ImageRecord | None
    previous: ImageRecord | None = None
    read: Sequence[ReadBack] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    changed: Sequence[str] = ()
    waiting: Sequence[str] = ()


class Transaction:
    """Publishes what ``look`` sees on one cloud. The caller holds the lock of this recipe on this cloud.

    ``certificates`` gives those that signatures are checked with, part by part. ``plan`` is what was, or is being, done
    last; ``seconds`` how long it took by stage.
    """

    def __init__(
        self,
        api: ImageApi,
        journal: PublishJournal,
        look: Callable[[], ObservedImage],
        options: PublishOptions,
        certificates: Callable[[ImagePart], CertificateSource],
        progress: Progress = nothing,
    ) -> None:
        self._api = api
        self._journal = journal
        self._look = look
        self._options = options
        self._certificates = certificates
        self._progress = progress
        self.plan: PublishPlan | None = None
        self.seconds: dict[str, float] = {}

    def publish(self, planned: Callable[[PublishPlan], None] = lambda plan: None) -> list[PartResult]:
        """Look, plan, and do exactly what is planned; ``planned`` hears of the plan before it is carried out.

        Where the cloud turns out to be otherwise than seen (another run was faster, copies are refused), what was begun
        is taken back and all is looked at and planned again. Raises ``PipelineError`` when it fails; then consumers get
        what they got before.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            before, self.plan = self.plan, plan(self._looked(), self._options)
            if before is None:
                planned(self.plan)
            else:
                for difference in differences([step.as_data() for step in before.steps], self.plan.steps):
                    self._progress.say(difference)
            try:
                return self._carry_out(self.plan)
            except (StalePlan, CopyNotAllowed):
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("there is at least one attempt")

    def _looked(self) -> ObservedImage:
        began = time.monotonic()
        try:
            return self._look()
        finally:
            self.seconds["survey"] = self.seconds.get("survey", 0.0) + time.monotonic() - began

    def _carry_out(self, planned: PublishPlan) -> list[PartResult]:
        ledger = Ledger(self._api, self._journal, planned.steps)
        parts = {
            each.desired.chain.part: PartTransaction(
                each, ledger, self._certificates(each.desired.chain.part), self._progress, each.observed.candidate
            )
            for each in planned.parts
        }
        before = dict(self.seconds)
        for step in ledger.steps:
            part = parts[step.part]
            if step.act in (Act.CREATE, Act.GO_ON, Act.CHANGE) and step.part is ImagePart.DISK:
                _link(part, parts)
            try:
                part.carry_out(step)
            except Exception as error:
                _Undo(ledger, parts).undo(step, error)
                raise
            finally:
                self._count(before, parts.values())
        return [_result(part, planned) for part in parts.values()]

    def _count(self, before: Mapping[str, float], parts: Iterable[PartTransaction]) -> None:
        self.seconds = dict(before)
        for part in parts:
            for stage, seconds in part.seconds.items():
                self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


def _link(disk: PartTransaction, parts: Mapping[ImagePart, PartTransaction]) -> None:
    for name, part in parts.items():
        if name is not ImagePart.DISK and part.record is not None:
            disk.link(f"{name}_id", part.record.id)


class _Undo:
    """Takes back what was begun when a step fails; what cannot be now, the next run puts in order."""

    def __init__(self, ledger: Ledger, parts: Mapping[ImagePart, PartTransaction]) -> None:
        self._ledger = ledger
        self._parts = parts

    def undo(self, step: PlannedAct, error: Exception) -> None:
        """Leave nothing half-published after ``error`` in ``step``."""
        part = self._parts[step.part]
        if step.act.brings:
            if isinstance(error, CopyNotAllowed):
                self._ledger.journal.note("copy refused", step.image, "copies are for administrators here")
            if part.is_newest:
                return  # what consumers had they still have; the next run makes the copy
            if part.record is not None and not isinstance(error, StalePlan):
                self._give_up(part, part.record, error)
        else:
            self._take_back(error)

    def _give_up(self, part: PartTransaction, record: ImageRecord, error: Exception) -> None:
        journal = self._ledger.journal
        journal.note("give up", record.id, str(error)[:500])
        with contextlib.suppress(CloudError):
            if not was_verified(record):
                part.discard(record, "the publication failed")
            elif isinstance(error, ChecksumMismatch):
                why = "it does not read back as it should; never shown"
                step = retire(
                    part.desired.chain.part, record, ImageState.SUPERSEDED, why, drop_protection=part.desired.protected
                )
                with self._ledger.undo("retire", record.id, why):
                    self._ledger.change(record.id, step, part.seen.context)

    def _take_back(self, error: Exception) -> None:
        """Go back to the previous images, the disk first: it must never name a kernel that is out of sight."""
        for part in reversed(list(self._parts.values())):
            record = part.record
            try:
                self._restore(part, record)
            except PipelineError as further:
                # What stands now is consistent: the newest by age is verified. The next run settles the rest.
                self._ledger.journal.note("take back failed", record.id if record else "", str(further)[:500])
                error.add_note(f"going back failed too: {further.message}")
                return

    def _restore(self, part: PartTransaction, record: ImageRecord | None) -> None:
        """Return the previous images first, so that there always is one."""
        if record is not None and part.back is not None:
            with self._ledger.undo("change back", record.id, "a later step failed"):
                self._ledger.api.patch(record.id, part.back)
        if record is None or not part.shown:
            return
        for previous in part.seen.observed.displaced:
            with self._ledger.undo("restore", previous.id, f"{record.id} is taken back"):
                self._ledger.api.patch(previous.id, restored(previous))
        hidden = {**HELD, "name": part.desired.dated_name}
        marks = {ownership_marker.STATE: str(ImageState.VERIFIED)}
        with self._ledger.undo("take back", record.id, "a later step failed"):
            self._ledger.api.patch(record.id, RecordPatch(hidden, marks, frozenset({ownership_marker.SWITCHED_AT})))


def _result(part: PartTransaction, planned: PublishPlan) -> PartResult:
    observed = part.seen.observed
    is_new = observed.action is not ReconcileAction.REFRESH
    match planned.outcome:
        case PlanOutcome.WITHDRAWN:
            outcome = PublishOutcome.WITHDRAWN
        case PlanOutcome.LEFT_ALONE:
            outcome = PublishOutcome.LEFT_ALONE
        case PlanOutcome.HELD if is_new:
            outcome = PublishOutcome.HELD
        case PlanOutcome.PUBLISHED if is_new:
            outcome = PublishOutcome.PUBLISHED
        case _:
            outcome = PublishOutcome.CHANGED if part.changed else PublishOutcome.UNCHANGED
    return PartResult(
        part=part.desired.chain.part,
        outcome=outcome,
        record=part.record or observed.newest,
        previous=observed.newest if outcome is PublishOutcome.PUBLISHED else None,
        read=tuple(part.read),
        seconds=part.seconds,
        changed=tuple(part.changed),
        waiting=part.waiting,
    )
