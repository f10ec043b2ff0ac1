"""Observe what stands in the cloud for one chain of images, and what has to happen: pure decisions, no requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.ownership_marker import Chain, ImageState
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.plan.clock import Clock
from pipeline.publishing.plan.desired import DesiredImage


class ReconcileAction(StrEnum):
    """What reconciles what stands in the cloud with what is desired."""

    CREATE = "create"  # no image holds these bytes: upload them
    RESUME = "resume"  # a run that broke off got as far as a record, or further
    REFRESH = "refresh"  # the newest image holds these bytes; at most its record changes
    WITHDRAWN = "withdrawn"  # a person took an image of exactly these bytes back


@dataclass(frozen=True)
class ObservedChain:
    """One chain, sorted. ``newest`` is what consumers get; ``action`` and ``candidate`` say how to go on."""

    chain: Chain
    newest: ImageRecord | None = None
    stale_newest: tuple[ImageRecord, ...] = ()  # were to be retired when a run broke off
    unfit: tuple[ImageRecord, ...] = ()  # shown, without anything fit to be the newest: deactivated, without a digest
    leftovers: tuple[ImageRecord, ...] = ()  # never verified, their run is dead
    others_at_work: tuple[ImageRecord, ...] = ()  # never verified, another runner may be at it
    outdated: tuple[ImageRecord, ...] = ()  # verified, never shown, and overtaken
    waiting: tuple[ImageRecord, ...] = ()  # verified, not shown yet
    retired: tuple[ImageRecord, ...] = ()
    action: ReconcileAction | None = None
    candidate: ImageRecord | None = None

    @property
    def last_serial(self) -> int:
        """The highest number given in the chain."""
        return max((record.serial for record in self.all), default=0)

    @property
    def displaced(self) -> tuple[ImageRecord, ...]:
        """What a new image takes the place of."""
        return tuple(each for each in (self.newest, *self.unfit) if each is not None)

    @property
    def all(self) -> tuple[ImageRecord, ...]:
        """Every image of the chain."""
        found = [
            self.newest,
            *self.stale_newest,
            *self.unfit,
            *self.leftovers,
            *self.others_at_work,
            *self.outdated,
            *self.waiting,
            *self.retired,
            self.candidate,
        ]
        return tuple({each.id: each for each in found if each is not None}.values())


@dataclass(frozen=True)
class RunnerContext:
    """Which runner looks, and when. ``exclusive``: nobody else is at work on these images: ours is the cloud's lock."""

    runner: str
    clock: Clock
    exclusive: bool = False

    @property
    def now(self) -> datetime:
        """The moment as of which everything is decided."""
        return self.clock.start

    @property
    def moment(self) -> str:
        """This moment, as marks hold it."""
        return ownership_marker.time_text(self.clock.now())

    def is_dead(self, record: ImageRecord) -> bool:
        """Return whether nobody works on an unfinished image any more: this machine's own lock is always ours."""
        return self.exclusive or record.properties.get(ownership_marker.RUNNER) == self.runner


@dataclass
class _Sorted:
    newest: list[ImageRecord] = field(default_factory=list)
    unfinished: list[ImageRecord] = field(default_factory=list)
    waiting: list[ImageRecord] = field(default_factory=list)
    retired: list[ImageRecord] = field(default_factory=list)


def observe(
    chain: Chain, records: Iterable[ImageRecord], context: RunnerContext, desired: DesiredImage | None = None
) -> ObservedChain:
    """Sort a chain's ``records``; with ``desired``, also decide by which action to get there."""
    piles = _pile(chain, records)
    fit = [each for each in piles.newest if each.is_active and each.hash_value]
    newest = fit[-1] if fit else None
    others = tuple(each for each in piles.newest if each is not newest)
    overtaken = [each for each in piles.waiting if newest and each.age_key < newest.age_key]
    waiting = [each for each in piles.waiting if each not in overtaken]
    dead = [each for each in piles.unfinished if context.is_dead(each)]
    action, candidate = _action(desired, newest, waiting, dead, piles.retired) if desired else (None, None)
    if desired:
        # A newer build, or the same one already shown, overtakes whatever else waits.
        overtaken += [each for each in waiting if each is not candidate]
        waiting = [each for each in waiting if each is candidate]
    return ObservedChain(
        chain=chain,
        newest=newest,
        stale_newest=others if newest else (),
        unfit=() if newest else others,
        leftovers=tuple(each for each in dead if each is not candidate),
        others_at_work=tuple(each for each in piles.unfinished if each not in dead),
        outdated=tuple(overtaken),
        waiting=tuple(waiting),
        retired=tuple(piles.retired),
        action=action,
        candidate=candidate,
    )


def _pile(chain: Chain, records: Iterable[ImageRecord]) -> _Sorted:
    piles = _Sorted()
    for record in sorted(records, key=lambda each: each.age_key):
        if not record.belongs_to(chain) or record.state is None:
            continue  # the filters are the service's; the ownership mark is checked here once more
        if record.state is ImageState.NEWEST:
            piles.newest.append(record)
        elif record.state is ImageState.UPLOADING:
            piles.unfinished.append(record)
        elif record.state.waits:
            piles.waiting.append(record)
        else:
            piles.retired.append(record)
    return piles


def _action(
    desired: DesiredImage,
    newest: ImageRecord | None,
    waiting: Sequence[ImageRecord],
    dead: Sequence[ImageRecord],
    retired: Sequence[ImageRecord],
) -> tuple[ReconcileAction, ImageRecord | None]:
    if newest and desired.matches(newest):
        return ReconcileAction.REFRESH, newest
    for record in reversed(waiting):
        if desired.matches(record):
            return ReconcileAction.RESUME, record
    for record in reversed(retired):
        if record.state is ImageState.WITHDRAWN and desired.is_held_by(record):
            return ReconcileAction.WITHDRAWN, record
    for record in reversed(dead):
        if _can_go_on(record, desired, newest):
            return ReconcileAction.RESUME, record
    return ReconcileAction.CREATE, None


def _can_go_on(record: ImageRecord, desired: DesiredImage, newest: ImageRecord | None) -> bool:
    """Return whether an unfinished record can still become the newest image."""
    right_kind = (record.disk_format, record.container_format) == (desired.disk_format, desired.container_format)
    # Of an image without bytes the mark says what was to become of it; of one with bytes the service's digest counts.
    meant = record.properties.get(ownership_marker.SHA512) == desired.sha512
    same_bytes = desired.matches(record) if record.is_active else meant
    same_signature = record.signature == desired.signature  # the service checks it when the bytes come
    later = newest is None or record.age_key[0] > newest.age_key[0]
    return right_kind and same_bytes and same_signature and later and record.status in ("queued", "active")
