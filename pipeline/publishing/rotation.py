"""Deleting what retention lets go, image by image, looking again before each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.publishing import retention
from pipeline.publishing.cloud_errors import Contended
from pipeline.publishing.image_api import ImageApi
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.image_records import Deletion
from pipeline.publishing.journal import Journal
from pipeline.publishing.marks import Chain, Part
from pipeline.publishing.retention import Decision
from pipeline.publishing.situation import Situation, Viewpoint, look
from pipeline.recipes.upkeep import Retention


class Fate(StrEnum):
    """What became of an image that retention looked at."""

    KEPT = "kept"
    TO_DELETE = "would be deleted"
    DELETED = "deleted"
    IN_USE = "in use"
    PROTECTED = "protected"


@dataclass(frozen=True)
class Rotated:
    """One image, its fate, and why."""

    record: ImageRecord
    fate: Fate
    why: str


@dataclass(frozen=True)
class Rotation:
    """The rotation of one recipe on one cloud. The caller holds the lock of the two."""

    api: ImageApi
    publisher: str
    recipe: str
    limits: Retention
    view: Viewpoint
    journal: Journal

    def run(self, *, delete: bool) -> list[Rotated]:
        """Decide, and with ``delete`` carry it out. Raises ``Contended`` when another machine publishes the recipe.

        Disks come first: a kernel or a proof goes only when every disk that names it is gone.
        """
        done: list[Rotated] = []
        needed: frozenset[str] = frozenset()
        for part in (Part.DISK, Part.KERNEL, Part.RAMDISK, Part.PROOF):
            situation = self._look(part)
            decisions = retention.decide(situation, self.limits, self.view.now, needed)
            rotated = [self._carry_out(decision, delete=delete) for decision in decisions]
            done += rotated
            if part is Part.DISK:
                gone = {each.record.id for each in deletes(rotated)}
                needed = retention.links(each for each in situation.all if each.id not in gone)
        return done

    def _carry_out(self, decision: Decision, *, delete: bool) -> Rotated:
        if decision.stays:
            return Rotated(decision.record, Fate.KEPT, decision.why)
        return self._delete(decision) if delete else Rotated(decision.record, Fate.TO_DELETE, decision.why)

    def _look(self, part: Part) -> Situation:
        chain = Chain(self.publisher, self.recipe, part)
        situation = look(chain, self.api.images(**chain.filters), self.view)
        if situation.others_at_work:
            raise Contended(
                f"another machine is publishing {self.recipe} to cloud {self.api.cloud}: nothing is deleted"
            )
        return situation

    def _delete(self, decision: Decision) -> Rotated:
        """Look once more, since a person may have changed their mind, then delete."""
        before = decision.record
        record = self.api.show(before.id)
        if record is None:
            return Rotated(before, Fate.DELETED, "somebody deleted it already")
        if record != before:
            return Rotated(record, Fate.KEPT, "it was changed while this ran; the next rotation looks again")
        self.journal.note("delete", record.id, decision.why)
        match self.api.delete(record.id):
            case Deletion.DELETED:
                return Rotated(record, Fate.DELETED, decision.why)
            case Deletion.IN_USE:
                return Rotated(record, Fate.IN_USE, "the cloud says it is in use; tried again next time")
            case Deletion.PROTECTED:
                return Rotated(record, Fate.PROTECTED, "it was protected just now")


def deletes(rotated: Sequence[Rotated]) -> list[Rotated]:
    """Those that are gone, or would be."""
    return [each for each in rotated if each.fate in (Fate.DELETED, Fate.TO_DELETE)]
