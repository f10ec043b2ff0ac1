"""What a publication will do to one chain, act by act with the reason: printed by ``--plan``, carried out by apply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.situation import Course, Situation
from pipeline.publishing.wanted import Wanted, dated_name


class Act(StrEnum):
    """One kind of change to a cloud."""

    DISCARD = "discard"  # delete what was never verified
    RETIRE = "retire"  # dated name, hidden
    CREATE = "create"
    GO_ON = "go on"  # with the record of a run that broke off
    CHECK = "check"  # read back from every store
    CHANGE = "change"  # the record of the newest image
    HOLD = "hold"
    SWITCH = "switch"  # the one change that makes an image the newest
    NOTHING = "nothing"


@dataclass(frozen=True)
class Step:
    """One act on one image, and why. ``image`` is an id, or empty while it does not exist."""

    act: Act
    image: str
    name: str
    why: str


@dataclass(frozen=True)
class Limits:
    """What holds a publication back: tripped ``gates``; unless ``again``, bytes that a person took back; with
    ``only_new``, that an image of this name exists (``others`` are those that are not of the recipe).
    """

    gates: Sequence[str] = ()
    again: bool = False
    only_new: bool = False
    others: Sequence[ImageRecord] = ()


def publication(looked: Sequence[tuple[Situation, Wanted]], limits: Limits) -> list[Step]:
    """The acts for all parts of an image, the disk last, in order."""
    if limits.again:
        looked = [(_again(situation), wanted) for situation, wanted in looked]
    for situation, wanted in looked:
        if situation.course is Course.WITHDRAWN:
            return _towards(situation, wanted, ())
    if limits.only_new and (left := [*limits.others, *_replaced(looked)]):
        why = "exists with other bytes and is left alone; --update-existing takes its place"
        return [Step(Act.NOTHING, each.id, each.name, why) for each in left]
    links = {
        f"{wanted.chain.part}_id": situation.candidate.id if situation.candidate else "the new one"
        for situation, wanted in looked[:-1]
    }
    *parts, (disk_situation, disk) = looked
    linked = replace(disk, properties={**disk.properties, **links})
    found = [step for situation, wanted in parts for step in steps(situation, wanted, limits.gates)]
    return [*found, *steps(disk_situation, linked, limits.gates)]


def _again(situation: Situation) -> Situation:
    if situation.course is not Course.WITHDRAWN:
        return situation
    return replace(situation, course=Course.CREATE, candidate=None)


def _replaced(looked: Sequence[tuple[Situation, Wanted]]) -> list[ImageRecord]:
    return [
        situation.newest
        for situation, _ in looked
        if situation.newest is not None and situation.course is not Course.REFRESH
    ]


def steps(situation: Situation, wanted: Wanted, gates: Sequence[str]) -> list[Step]:
    """The acts that lead from ``situation`` to ``wanted``, in order. ``gates`` are reasons to hold the image back."""
    found = [
        Step(Act.DISCARD, each.id, each.name, "its run broke off before it was verified")
        for each in situation.leftovers
    ]
    found += [_retire(each, "a newer one was shown already when a run broke off") for each in situation.stale_newest]
    found += [_retire(each, "never shown, and overtaken by a later build") for each in situation.outdated]
    return found + _towards(situation, wanted, gates)


def _towards(situation: Situation, wanted: Wanted, gates: Sequence[str]) -> list[Step]:
    candidate = situation.candidate
    match situation.course:
        case Course.REFRESH if candidate is not None:
            return [_refresh(candidate, wanted)]
        case Course.WITHDRAWN if candidate is not None:
            why = f"these bytes were taken back by a person as {candidate.name}; build a new image, or say --again"
            return [Step(Act.NOTHING, candidate.id, candidate.name, why)]
        case Course.RESUME if candidate is not None:
            begin = Step(Act.GO_ON, candidate.id, candidate.name, f"an earlier run left it {candidate.state}")
            known = candidate.id
        case _:
            begin = Step(Act.CREATE, "", wanted.dated_name, _why_new(situation.newest, wanted))
            known = ""
    check = Step(Act.CHECK, known, wanted.dated_name, "size, sha512 and signature, from every store")
    if gates:
        return [begin, check, Step(Act.HOLD, known, wanted.dated_name, "; ".join(gates))]
    show = Step(Act.SWITCH, known, wanted.name, f"becomes the newest, {wanted.visibility}")
    retire = [_retire(each, "no longer the newest") for each in [situation.newest] if each is not None]
    return [begin, check, show, *retire]


def _retire(record: ImageRecord, why: str) -> Step:
    name = record.name if record.bears_date else dated_name(record.name, record.version)
    return Step(Act.RETIRE, record.id, record.name, f"hidden, as {name}: {why}")


def _refresh(record: ImageRecord, wanted: Wanted) -> Step:
    operations = wanted.refreshed(record).operations(record)
    if not operations:
        return Step(Act.NOTHING, record.id, record.name, "the same bytes and properties are published already")
    names = ", ".join(operation["path"].removeprefix("/") for operation in operations)
    return Step(Act.CHANGE, record.id, record.name, f"the same bytes, but these changed: {names}")


def _why_new(newest: ImageRecord | None, wanted: Wanted) -> str:
    if newest is None:
        return "nothing of this recipe is published there yet"
    if newest.disk_format != wanted.disk_format:
        return f"the format changes from {newest.disk_format} to {wanted.disk_format}"
    return f"the bytes changed: sha512 {(newest.sha512 or 'unknown')[:12]}… becomes {wanted.sha512[:12]}…"
