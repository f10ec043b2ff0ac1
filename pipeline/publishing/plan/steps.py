"""Name the steps of a plan: what ``--plan`` prints, apply carries out and the journal tells, in one order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.publishing.cloud.ownership_marker import ImagePart, ImageState
from pipeline.publishing.cloud.patch import RecordPatch
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.plan.desired import dated_name, retired
from pipeline.publishing.plan.sharing import Sharing


class Act(StrEnum):
    """One kind of change to a cloud."""

    WITHDRAW = "withdraw"  # the mark that these bytes are not published again by themselves
    RESTORE = "restore"  # an image that was the newest once is it again
    RETIRE = "retire"  # dated name, hidden
    DISCARD = "discard"  # delete what was never verified
    CREATE = "create"
    GO_ON = "go on"  # with the record of a run that broke off
    UPLOAD = "upload"
    COPY = "copy"  # by the cloud, to further stores
    IMPORT = "import"  # by the cloud, to all stores at once
    CHECK = "check"  # read back from every store, then marked as verified
    HOLD = "hold"
    CHANGE = "change"  # the record of the newest image
    SHARE = "share"  # the members of a shared image
    SWITCH = "switch"  # the one change that makes an image the newest
    DELETE = "delete"  # what retention no longer keeps
    TAKE_OVER = "take over"  # from a project that a person names
    NOTHING = "nothing"

    @property
    def brings(self) -> bool:
        """Whether it belongs to the way of the bytes into the cloud, out of everybody's sight."""
        return self in _BRINGS


_BRINGS = frozenset({Act.CREATE, Act.GO_ON, Act.UPLOAD, Act.COPY, Act.IMPORT, Act.CHECK})


@dataclass(frozen=True)
class PlannedAct:
    """One act on one image, and why.

    ``image`` is an id, or empty while the image does not exist. What comes after ``why`` is for who carries the step
    out: the ``record`` it was computed from, the ``change`` to make at a moment, the ``stores`` and the import
    ``method``, the members to share with.
    """

    act: Act
    part: ImagePart
    image: str
    name: str
    why: str
    record: ImageRecord | None = field(default=None, compare=False, repr=False)
    change: Callable[[str], RecordPatch] | None = field(default=None, compare=False, repr=False)
    stores: tuple[str, ...] = field(default=(), compare=False, repr=False)
    method: str = field(default="", compare=False, repr=False)
    sharing: Sharing | None = field(default=None, compare=False, repr=False)

    def as_data(self) -> dict[str, str]:
        """Return the step as the journal and remembered plans hold it."""
        return {"act": str(self.act), "part": str(self.part), "image": self.image, "name": self.name, "why": self.why}


def retire(part: ImagePart, record: ImageRecord, state: ImageState, why: str, *, drop_protection: bool) -> PlannedAct:
    """Return the step that takes an image off the stage. ``drop_protection``: the recipe protects its newest image."""
    name = record.name if record.bears_date else dated_name(record.name, record.version)

    def change(moment: str) -> RecordPatch:
        return retired(record, state, moment, drop_protection=drop_protection)

    return PlannedAct(Act.RETIRE, part, record.id, record.name, f"hidden, as {name}: {why}", record, change)


def acts(steps: Iterable[PlannedAct]) -> list[PlannedAct]:
    """Return the steps that do something."""
    return [step for step in steps if step.act is not Act.NOTHING]


def differences(shown: Sequence[Mapping[str, str]], now: Sequence[PlannedAct]) -> list[str]:
    """Return what is otherwise in the plan ``now`` than in the one ``shown`` before, a sentence each."""
    before, after = [_words(each) for each in shown], [_words(each.as_data()) for each in now]
    gone = [f"no longer planned: {words}" for words in before if words not in after]
    new = [f"planned now: {words}" for words in after if words not in before]
    if not gone and not new and before != after:
        return ["the order of the steps is another one"]
    return gone + new


def _words(step: Mapping[str, str]) -> str:
    # The name of an image that does not exist yet bears the time of the run.
    image = step.get("image") or f"the new {step.get('part')}"
    return f"{step.get('act')} {image}: {step.get('why')}"
