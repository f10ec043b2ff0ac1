"""Lock a recipe on a cloud: one runner at a time, on whichever machines they run.

The lock is an image record that never gets data. Each runner makes one of its own and then looks: when it sees
another's, it takes its own away again. Since everybody makes before looking, no two can find themselves alone. That
works on any Image API; a record with a fixed id would not, since ids of deleted images are never free again. Records of
other projects are no locks, whatever is written on them.

The holder changes its record every few seconds. Whoever waits sees that and gives up, or sees nothing change for so
long that the holder must be dead. Only changes count, by the clock of whoever waits: those of machines and clouds
differ.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.errors import CloudConflict, CloudError, CloudNotFound, Contended
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.owners import Owners
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.cloud.retry import LockLease

_PART = "lock"
_IDS = 3
_BEAT = f"{ownership_marker.PREFIX}beat"


@dataclass(frozen=True)
class LockScope:
    """What is locked, ``recipe`` of ``publisher`` on the cloud behind ``api``, and by whom: ``run`` on ``runner``."""

    api: ImageApi
    publisher: str
    recipe: str
    runner: str
    run: str

    @property
    def lease(self) -> LockLease:
        """How often holders show that they live."""
        return self.api.retry_policy.lease

    @property
    def filters(self) -> dict[str, str]:
        """The query that finds its locks."""
        return {
            ownership_marker.PUBLISHER: self.publisher,
            ownership_marker.RECIPE: self.recipe,
            ownership_marker.PART: _PART,
        }

    def others(self) -> list[ImageRecord]:
        """Return the locks of other runners, dead or alive."""
        return [each for each in self.locks() if each.properties.get(ownership_marker.RUNNER) != self.runner]

    def is_free(self) -> bool:
        """Return whether no other runner has it locked."""
        return not self.others()

    def sweep(self, but: str) -> list[str]:
        """Remove what earlier runs of this runner left, all ``but`` one; the ids of the locks that are there then.

        Those runs are dead: this machine's own lock is ours.
        """
        kept = []
        for record in self.locks():
            if record.id != but and record.properties.get(ownership_marker.RUNNER) == self.runner:
                self.api.delete(record.id)
            else:
                kept.append(record.id)
        return kept

    def made(self) -> tuple[LockScope, ImageRecord]:
        """Return a new lock; and the scope as it is once its owner has told for sure whose images are ours."""
        owners = self.api.owners
        project = None if owners.is_remembered else owners.project
        mine = self._create(self.api.known_as(Owners(project, owners.former)))
        if project not in (None, mine.owner):
            self.api.delete(mine.id)
            raise CloudError(
                f"cloud {self.api.cloud} makes what this user creates the property of {mine.owner or 'nobody'}, not of "
                f"{project}: whose images are ours cannot be told",
                hint="use a token that is for the project that owns what it makes",
            )
        known = Owners(mine.owner, owners.former, are_nobodys=mine.owner is None)
        return replace(self, api=self.api.known_as(known)), mine

    def _create(self, api: ImageApi) -> ImageRecord:
        for _ in range(_IDS - 1):
            # An answer got lost, and what is there under that id could be anybody's: the next id is a new one.
            with contextlib.suppress(CloudConflict):
                return api.create(self.document())
        return api.create(self.document())

    def document(self) -> dict[str, object]:
        """Return the record of a new lock."""
        return {
            "id": str(uuid.uuid4()),
            "name": f"{self.recipe}-lock",
            "visibility": "private",
            "os_hidden": True,
            **self.filters,
            ownership_marker.RUNNER: self.runner,
            ownership_marker.RUN: self.run,
            _BEAT: "0",
        }

    def locks(self) -> list[ImageRecord]:
        """Return all locks, our own among them."""
        found = self.api.hidden(**self.filters)
        return [each for each in found if all(each.properties.get(key) == text for key, text in self.filters.items())]


@contextlib.contextmanager
def held(scope: LockScope, progress: Progress = nothing) -> Iterator[ImageApi]:
    """Hold the lock while the block runs. Yields an API that changes nothing any more once the lock is lost.

    That API knows for sure whose images are ours. Waits for a holder that ends soon or turns out to be dead. Raises
    ``Contended`` when another runner is at work.
    """
    scope, mine = _acquired(scope, progress)
    lock = _HeldLock(scope, mine)
    try:
        with lock.beating():
            yield scope.api.guarded(lock.check)
    finally:
        with contextlib.suppress(PipelineError):  # the next run of this runner sweeps it
            scope.api.delete(lock.record.id)


def _acquired(scope: LockScope, progress: Progress) -> tuple[LockScope, ImageRecord]:
    watched: _Watched | None = None
    while True:
        # A lock of our own comes first: who its owner is tells whose other locks count.
        scope, mine = scope.made()
        if _is_only(scope, mine):
            return scope, mine
        watched = watched or _Watched(scope, progress)
        others = scope.others()
        if not others:
            # Somebody came at the same moment; who sleeps shorter goes first.
            scope.api.retry_policy.sleep(random.uniform(0.1, 1.0) * scope.lease.poll)  # noqa: S311  (guards nothing)
        while others:
            watched.look(others)
            scope.api.retry_policy.sleep(scope.lease.poll)
            others = scope.others()


def _is_only(scope: LockScope, mine: ImageRecord) -> bool:
    """Return whether ``mine`` is the only lock: who slept may find it gone. It is taken away otherwise."""
    alone = False
    try:
        alone = scope.sweep(but=mine.id) == [mine.id]
    finally:
        if not alone:
            scope.api.delete(mine.id)
    return alone


class _Watched:
    """The locks of others, and since when nothing moved in each."""

    def __init__(self, location: LockScope, progress: Progress) -> None:
        self._location = location
        self._progress = progress
        self._seen: dict[str, tuple[object, float]] = {}

    def look(self, others: list[ImageRecord]) -> None:
        """Raise ``Contended`` when one of ``others`` lives; remove those that are dead."""
        now = self._location.api.retry_policy.clock()
        for record in others:
            sign = (record.properties.get(_BEAT), record.updated_at)
            before, since = self._seen.setdefault(record.id, (sign, now))
            if before != sign:
                raise self._contended(record.created_at)
            if now - since >= self._location.lease.lasts:
                self._progress.say(f"the runner that had locked {self._location.recipe} is dead: going on")
                self._location.api.delete(record.id)
            elif now == since:
                self._progress.say(f"another machine has locked {self._location.recipe}; waiting whether it lives")

    def _contended(self, since: datetime) -> Contended:
        return Contended(
            f"another machine is at work on {self._location.recipe} on cloud {self._location.api.cloud}, "
            f"since {ownership_marker.time_text(since)}",
            hint="let it finish; the lock of a machine that dies ends by itself "
            f"after {self._location.lease.lasts:.0f} seconds",
        )


class _HeldLock:
    """A lock in our hands, and its beat."""

    def __init__(self, location: LockScope, record: ImageRecord) -> None:
        self.record = record
        self._location = location
        self._count = 0
        self._last = time.monotonic()
        self._lost = False
        self._one = threading.Lock()
        self._end = threading.Event()

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Show that we live while the block runs, whatever it waits for."""
        thread = threading.Thread(target=self._beat_on, name=f"lock of {self._location.recipe}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()

    def check(self) -> None:
        """Raise ``Contended`` when somebody took us for dead; ``CloudError`` when that cannot be found out."""
        if not self._lost and time.monotonic() - self._last > self._location.lease.doubtful:
            self._beat()
        if self._lost:
            raise Contended(
                f"this run lost its lock of {self._location.recipe} on cloud {self._location.api.cloud}: it was silent "
                "so long that another one may have gone on in its place",
                hint="run it again",
            )

    def _beat_on(self) -> None:
        while not self._end.wait(self._location.lease.beat) and not self._lost:
            # A cloud in trouble is told with the next beat.
            with contextlib.suppress(CloudError):
                self._beat()

    def _beat(self) -> None:
        with self._one:
            began = time.monotonic()
            self._count += 1
            try:
                self._location.api.mark(self.record.id, _BEAT, str(self._count), timeout=self._location.lease.lasts / 3)
            except CloudNotFound:
                self._lost = True
            self._last = began
