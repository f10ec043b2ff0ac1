"""Delete what retention lets go, image by image, looking again before each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.publishing.cloud.errors import Contended
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.ownership_marker import Chain, ImagePart
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.cloud.records import Deletion
from pipeline.publishing.plan.chain_state import ObservedChain, RunnerContext, observe
from pipeline.publishing.plan.steps import Act, PlannedAct
from pipeline.publishing.retention import policy
from pipeline.publishing.retention.policy import Decision
from pipeline.publishing.transaction.journal import PublishJournal
from pipeline.publishing.transaction.ledger import Ledger
from pipeline.recipes.model.retention_fields import Retention


class RotationOutcome(StrEnum):
    """What became of an image that retention looked at."""

    KEPT = "kept"
    TO_DELETE = "would be deleted"
    DELETED = "deleted"
    IN_USE = "in use"
    PROTECTED = "protected"


@dataclass(frozen=True)
class Rotated:
    """One image, what became of it, and why."""

    record: ImageRecord
    outcome: RotationOutcome
    why: str


@dataclass(frozen=True)
class Rotation:
    """The rotation of one recipe on one cloud. The caller holds the lock of the two."""

    api: ImageApi
    publisher: str
    recipe: str
    limits: Retention
    context: RunnerContext
    journal: PublishJournal

    def run(self, *, delete: bool) -> list[Rotated]:
        """Decide, and with ``delete`` carry it out. Raises ``Contended`` when another machine publishes the recipe.

        Disks come first: a kernel or a proof goes only when every disk that names it is gone.
        """
        done: list[Rotated] = []
        needed: frozenset[str] = frozenset()
        for part in (ImagePart.DISK, ImagePart.KERNEL, ImagePart.RAMDISK, ImagePart.PROOF):
            observed = self._look(part)
            decisions = policy.decide(observed, self.limits, self.context.now, needed)
            rotated = self._delete(part, decisions) if delete else [_planned(decision) for decision in decisions]
            done += rotated
            if part is ImagePart.DISK:
                gone = {each.record.id for each in deletes(rotated)}
                needed = policy.links(each for each in observed.all if each.id not in gone)
        return done

    def _look(self, part: ImagePart) -> ObservedChain:
        chain = Chain(self.publisher, self.recipe, part)
        observed = observe(chain, self.api.images(**chain.filters), self.context)
        if observed.others_at_work:
            raise Contended(
                f"another machine is publishing {self.recipe} to cloud {self.api.cloud}: nothing is deleted"
            )
        return observed

    def _delete(self, part: ImagePart, decisions: Sequence[Decision]) -> list[Rotated]:
        steps = {each.record.id: _step(part, each) for each in decisions if not each.stays}
        ledger = Ledger(self.api, self.journal, list(steps.values()))
        return [
            _planned(each) if each.stays else self._delete_one(ledger, steps[each.record.id], each.record)
            for each in decisions
        ]

    def _delete_one(self, ledger: Ledger, step: PlannedAct, before: ImageRecord) -> Rotated:
        """Look once more, since a person may have changed their mind, then delete."""
        record = self.api.show(step.image)
        if record is None:
            return Rotated(before, RotationOutcome.DELETED, "somebody deleted it already")
        if record != before:
            return Rotated(record, RotationOutcome.KEPT, "it was changed while this ran; the next rotation looks again")
        with ledger.step(step):
            ended = ledger.api.delete(record.id)
        return Rotated(record, *_OUTCOMES.get(ended, (RotationOutcome.DELETED, step.why)))


_OUTCOMES = {
    Deletion.IN_USE: (RotationOutcome.IN_USE, "the cloud says it is in use; tried again next time"),
    Deletion.PROTECTED: (RotationOutcome.PROTECTED, "it was protected just now"),
}


def _step(part: ImagePart, decision: Decision) -> PlannedAct:
    return PlannedAct(Act.DELETE, part, decision.record.id, decision.record.name, decision.why, decision.record)


def _planned(decision: Decision) -> Rotated:
    return Rotated(decision.record, RotationOutcome.KEPT if decision.stays else RotationOutcome.TO_DELETE, decision.why)


def deletes(rotated: Sequence[Rotated]) -> list[Rotated]:
    """Return those that are gone, or would be."""
    return [each for each in rotated if each.outcome in (RotationOutcome.DELETED, RotationOutcome.TO_DELETE)]
