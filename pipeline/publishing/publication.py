"""Publishing one recipe to one cloud as a transaction: all parts appear together, or the previous ones stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pipeline.base.errors import PipelineError
from pipeline.publishing.chain_publication import ChainPublication, Overtaken
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.marks import Part, State
from pipeline.publishing.readback import ReadBack
from pipeline.publishing.situation import Course

_ATTEMPTS = 3


class Outcome(StrEnum):
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
        return self in (Outcome.PUBLISHED, Outcome.CHANGED, Outcome.UNCHANGED, Outcome.LEFT_ALONE)


@dataclass(frozen=True)
class PartResult:
    """One image at the end of a publication. ``previous`` is the image it took the place of; ``waiting`` are members
    who still have to accept it.
    """

    part: Part
    outcome: Outcome
    record: ImageRecord | None
    previous: ImageRecord | None = None
    read: Sequence[ReadBack] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    changed: Sequence[str] = ()
    waiting: Sequence[str] = ()


@dataclass(frozen=True)
class Terms:
    """``gates`` gives the reasons to hold a new image back, seeing the newest one.

    ``let_through``: show it all the same. ``again``: publish bytes that a person took back. ``only_new``: leave alone
    what exists with other bytes.
    """

    gates: Callable[[ImageRecord | None], tuple[str, ...]] = lambda newest: ()
    let_through: bool = False
    again: bool = False
    only_new: bool = False


def publish(parts: Sequence[ChainPublication], terms: Terms) -> list[PartResult]:
    """Publish ``parts`` (kernel and ramdisk before the disk that names them) on one cloud.

    The caller holds the lock of this recipe on this cloud. Raises ``PipelineError`` when it fails; then consumers get
    what they got before.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _Transaction(parts, terms).run()
        except Overtaken:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("there is at least one attempt")


class _Transaction:
    def __init__(self, parts: Sequence[ChainPublication], terms: Terms) -> None:
        self.parts = parts
        self.terms = terms

    def run(self) -> list[PartResult]:
        for part in self.parts:
            part.survey()
        for part in self.parts:
            part.tidy()
        if any(self._is_withdrawn(part) for part in self.parts):
            return [_nothing_done(part, Outcome.WITHDRAWN) for part in self.parts]
        if self.terms.only_new and any(_would_replace(part) for part in self.parts):
            return [_nothing_done(part, Outcome.LEFT_ALONE) for part in self.parts]
        prepared = self._prepare()
        held = self._gates(prepared)
        if held:
            why = "; ".join(held)
            results = [_result(part, Outcome.HELD, part.hold(record, why)) for part, record in prepared]
        else:
            results = self._show(prepared)
        for part in self.parts:
            part.retire_outdated()
        return results

    def _is_withdrawn(self, part: ChainPublication) -> bool:
        situation = part.situation
        return situation is not None and situation.course is Course.WITHDRAWN and not self.terms.again

    def _prepare(self) -> list[tuple[ChainPublication, ImageRecord]]:
        prepared: list[tuple[ChainPublication, ImageRecord]] = []
        links: dict[str, str] = {}
        for part in self.parts:
            if part.wanted.chain.part is Part.DISK and links:
                part.wanted = replace(part.wanted, properties={**part.wanted.properties, **links})
            if part.situation is not None and part.situation.course is Course.WITHDRAWN:
                part.situation = replace(part.situation, candidate=None, course=Course.CREATE)
            record = part.prepare()
            prepared.append((part, record))
            if part.wanted.chain.part is not Part.DISK:
                links[f"{part.wanted.chain.part}_id"] = record.id
        return prepared

    def _gates(self, prepared: Sequence[tuple[ChainPublication, ImageRecord]]) -> tuple[str, ...]:
        """Why the new images must wait; nothing when there are none, or somebody let them through."""
        new = any(record.state is not State.NEWEST for _, record in prepared)
        if not new or self.terms.let_through:
            return ()
        disk = self.parts[-1].situation
        return self.terms.gates(disk.newest if disk else None)

    def _show(self, prepared: Sequence[tuple[ChainPublication, ImageRecord]]) -> list[PartResult]:
        results = []
        shown: list[tuple[ChainPublication, ImageRecord]] = []
        try:
            for part, record in prepared:
                if record.state is State.NEWEST:
                    record, changed = part.refresh(record)
                    outcome = Outcome.CHANGED if changed else Outcome.UNCHANGED
                    results.append(_result(part, outcome, record, changed=changed))
                    continue
                shown.append((part, record))
                previous = part.situation.newest if part.situation else None
                results.append(_result(part, Outcome.PUBLISHED, part.show(record), previous))
            for part, _ in reversed(shown):
                part.retire_previous()
        except Exception as error:
            self._take_back(shown, error)
            raise
        return results

    def _take_back(self, shown: Sequence[tuple[ChainPublication, ImageRecord]], error: Exception) -> None:
        """Go back to the previous images, the disk first: it must never name a kernel that is out of sight."""
        for part, record in reversed(shown):
            try:
                part.take_back(record)
            except PipelineError as further:
                # What stands now is consistent: the newest by age is verified. The next run settles the rest.
                part.journal.note("take back failed", record.id, str(further)[:500])
                error.add_note(f"going back failed too: {further.message}")
                return


def _result(
    part: ChainPublication,
    outcome: Outcome,
    record: ImageRecord | None,
    previous: ImageRecord | None = None,
    changed: Sequence[str] = (),
) -> PartResult:
    return PartResult(
        part.wanted.chain.part,
        outcome,
        record,
        previous,
        read=tuple(part.read),
        seconds=part.seconds,
        changed=tuple(changed),
        waiting=part.waiting,
    )


def _would_replace(part: ChainPublication) -> bool:
    """Whether other bytes are published under this name."""
    situation = part.situation
    return situation is not None and situation.newest is not None and situation.course is not Course.REFRESH


def _nothing_done(part: ChainPublication, outcome: Outcome) -> PartResult:
    situation = part.situation
    return _result(part, outcome, situation.candidate or situation.newest if situation else None)
