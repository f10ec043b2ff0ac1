"""What stands in the cloud for one chain of images, and what has to happen: pure decisions, no requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pipeline.publishing import marks
from pipeline.publishing.clock import Clock
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.marks import Chain, State
from pipeline.publishing.wanted import Wanted


class Course(StrEnum):
    """The way from what stands in the cloud to what is wanted."""

    CREATE = "create"  # no image holds these bytes: upload them
    RESUME = "resume"  # a run that broke off got as far as a record, or further
    REFRESH = "refresh"  # the newest image holds these bytes; at most its record changes
    WITHDRAWN = "withdrawn"  # a person took an image of exactly these bytes back

    @property
    def sends_bytes(self) -> bool:
        """Whether the image has to be uploaded, or may have to."""
        return self in (Course.CREATE, Course.RESUME)


@dataclass(frozen=True)
class Situation:
    """One chain, sorted. ``newest`` is what consumers get; ``course`` and ``candidate`` say how to go on."""

    chain: Chain
    newest: ImageRecord | None = None
    stale_newest: tuple[ImageRecord, ...] = ()  # were to be retired when a run broke off
    leftovers: tuple[ImageRecord, ...] = ()  # never verified, their run is dead
    others_at_work: tuple[ImageRecord, ...] = ()  # never verified, another runner may be at it
    outdated: tuple[ImageRecord, ...] = ()  # verified, never shown, and overtaken
    waiting: tuple[ImageRecord, ...] = ()  # verified, not shown yet
    retired: tuple[ImageRecord, ...] = ()
    course: Course | None = None
    candidate: ImageRecord | None = None

    @property
    def last_serial(self) -> int:
        """The highest number given in the chain."""
        return max((record.serial for record in self.all), default=0)

    @property
    def all(self) -> tuple[ImageRecord, ...]:
        """Every image of the chain."""
        found = [
            self.newest,
            *self.stale_newest,
            *self.leftovers,
            *self.others_at_work,
            *self.outdated,
            *self.waiting,
            *self.retired,
            self.candidate,
        ]
        return tuple({each.id: each for each in found if each is not None}.values())


@dataclass(frozen=True)
class Viewpoint:
    """Who looks, and when. ``alone``: nobody else is at work on these images, since we have the cloud's lock."""

    runner: str
    clock: Clock
    alone: bool = False

    @property
    def now(self) -> datetime:
        """The moment as of which everything is decided."""
        return self.clock.start

    @property
    def moment(self) -> str:
        """This moment, as marks hold it."""
        return marks.time_text(self.clock.now())

    def is_dead(self, record: ImageRecord) -> bool:
        """Whether nobody works on an unfinished image any more: this machine's own lock is always ours."""
        return self.alone or record.properties.get(marks.RUNNER) == self.runner


@dataclass
class _Sorted:
    newest: list[ImageRecord] = field(default_factory=list)
    unfinished: list[ImageRecord] = field(default_factory=list)
    waiting: list[ImageRecord] = field(default_factory=list)
    retired: list[ImageRecord] = field(default_factory=list)


def look(chain: Chain, records: Iterable[ImageRecord], view: Viewpoint, wanted: Wanted | None = None) -> Situation:
    """Sort a chain's ``records``; with ``wanted``, also find the course to it."""
    piles = _pile(chain, records)
    newest = piles.newest[-1] if piles.newest else None
    overtaken = [each for each in piles.waiting if newest and each.age_key < newest.age_key]
    waiting = [each for each in piles.waiting if each not in overtaken]
    dead = [each for each in piles.unfinished if view.is_dead(each)]
    course, candidate = _course(wanted, newest, waiting, dead, piles.retired) if wanted else (None, None)
    if wanted:
        # A newer build, or the same one already shown, overtakes whatever else waits.
        overtaken += [each for each in waiting if each is not candidate]
        waiting = [each for each in waiting if each is candidate]
    return Situation(
        chain=chain,
        newest=newest,
        stale_newest=tuple(piles.newest[:-1]),
        leftovers=tuple(each for each in dead if each is not candidate),
        others_at_work=tuple(each for each in piles.unfinished if each not in dead),
        outdated=tuple(overtaken),
        waiting=tuple(waiting),
        retired=tuple(piles.retired),
        course=course,
        candidate=candidate,
    )


def _pile(chain: Chain, records: Iterable[ImageRecord]) -> _Sorted:
    piles = _Sorted()
    for record in sorted(records, key=lambda each: each.age_key):
        if not record.belongs_to(chain) or record.state is None:
            continue  # the filters are the service's; the ownership mark is checked here once more
        if record.state is State.NEWEST:
            piles.newest.append(record)
        elif record.state is State.UPLOADING:
            piles.unfinished.append(record)
        elif record.state.waits:
            piles.waiting.append(record)
        else:
            piles.retired.append(record)
    return piles


def _course(
    wanted: Wanted,
    newest: ImageRecord | None,
    waiting: Sequence[ImageRecord],
    dead: Sequence[ImageRecord],
    retired: Sequence[ImageRecord],
) -> tuple[Course, ImageRecord | None]:
    if newest and wanted.matches(newest):
        return Course.REFRESH, newest
    for record in reversed(waiting):
        if wanted.matches(record):
            return Course.RESUME, record
    for record in reversed(retired):
        if record.state is State.WITHDRAWN and wanted.matches(record):
            return Course.WITHDRAWN, record
    for record in reversed(dead):
        if _can_go_on(record, wanted, newest):
            return Course.RESUME, record
    return Course.CREATE, None


def _can_go_on(record: ImageRecord, wanted: Wanted, newest: ImageRecord | None) -> bool:
    """Whether an unfinished record can still become the newest image."""
    right_kind = (record.disk_format, record.container_format) == (wanted.disk_format, wanted.container_format)
    same_bytes = record.properties.get(marks.SHA512) == wanted.sha512
    same_signature = record.signature == wanted.signature  # the service checks it when the bytes come
    later = newest is None or record.age_key[0] > newest.age_key[0]
    return right_kind and same_bytes and same_signature and later and record.status in ("queued", "active")
