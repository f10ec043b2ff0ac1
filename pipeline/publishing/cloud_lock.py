"""One runner at a time at work on a recipe on a cloud, on whichever machines they run.

The lock is an image record that never gets data. Each runner makes one of its own and then looks: when it sees
another's, it takes its own away again. Since everybody makes before looking, no two can find themselves alone. That
works on any Image API; a record with a fixed id would not, since ids of deleted images are never free again.

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
from dataclasses import dataclass
from datetime import datetime

from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.publishing import marks
from pipeline.publishing.cloud_errors import CloudError, Contended, NotThere
from pipeline.publishing.image_api import ImageApi
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.patience import Lease

_PART = "lock"
_BEAT = f"{marks.PREFIX}beat"


@dataclass(frozen=True)
class Place:
    """What is locked, ``recipe`` of ``publisher`` on the cloud behind ``api``, and by whom: ``run`` on ``runner``."""

    api: ImageApi
    publisher: str
    recipe: str
    runner: str
    run: str

    @property
    def lease(self) -> Lease:
        """How often holders show that they live."""
        return self.api.patience.lease

    @property
    def filters(self) -> dict[str, str]:
        """The query that finds its locks."""
        return {marks.PUBLISHER: self.publisher, marks.RECIPE: self.recipe, marks.PART: _PART}

    def others(self) -> list[ImageRecord]:
        """The locks of other runners, dead or alive."""
        return [each for each in self.locks() if each.properties.get(marks.RUNNER) != self.runner]

    def is_free(self) -> bool:
        """Whether no other runner has it locked."""
        return not self.others()

    def sweep(self) -> None:
        """Remove what earlier runs of this runner left. They are dead: this machine's own lock is ours."""
        for record in self.locks():
            if record.properties.get(marks.RUNNER) == self.runner:
                self.api.delete(record.id)

    def document(self) -> dict[str, object]:
        """The record of a new lock."""
        return {
            "id": str(uuid.uuid4()),
            "name": f"{self.recipe}-lock",
            "visibility": "private",
            "os_hidden": True,
            **self.filters,
            marks.RUNNER: self.runner,
            marks.RUN: self.run,
            _BEAT: "0",
        }

    def locks(self) -> list[ImageRecord]:
        """All locks, our own among them."""
        found = self.api.hidden(**self.filters)
        return [each for each in found if all(each.properties.get(key) == text for key, text in self.filters.items())]


@contextlib.contextmanager
def held(place: Place, progress: Progress = nothing) -> Iterator[ImageApi]:
    """Hold the lock while the block runs. Yields an API that changes nothing any more once the lock is lost.

    Waits for a holder that ends soon or turns out to be dead. Raises ``Contended`` when another runner is at work.
    """
    place.sweep()
    lock = _Held(place, _acquired(place, progress))
    try:
        with lock.beating():
            yield place.api.guarded(lock.check)
    finally:
        with contextlib.suppress(PipelineError):  # the next run of this runner sweeps it
            place.api.delete(lock.record.id)


def _acquired(place: Place, progress: Progress) -> ImageRecord:
    watched = _Watched(place, progress)
    while True:
        others = place.others()
        if not others:
            mine = place.api.create(place.document())
            if _is_only(place, mine):
                return mine
            # Somebody came at the same moment; who sleeps shorter goes first.
            place.api.patience.sleep(random.uniform(0.1, 1.0) * place.lease.poll)  # noqa: S311  (guards nothing)
            continue
        watched.look(others)
        place.api.patience.sleep(place.lease.poll)


def _is_only(place: Place, mine: ImageRecord) -> bool:
    """Whether ``mine`` is the only lock: who slept may find it gone. It is taken away otherwise."""
    alone = False
    try:
        alone = [each.id for each in place.locks()] == [mine.id]
    finally:
        if not alone:
            place.api.delete(mine.id)
    return alone


class _Watched:
    """The locks of others, and since when nothing moved in each."""

    def __init__(self, place: Place, progress: Progress) -> None:
        self._place = place
        self._progress = progress
        self._seen: dict[str, tuple[object, float]] = {}

    def look(self, others: list[ImageRecord]) -> None:
        """Raise ``Contended`` when one of ``others`` lives; remove those that are dead."""
        now = self._place.api.patience.clock()
        for record in others:
            sign = (record.properties.get(_BEAT), record.updated_at)
            before, since = self._seen.setdefault(record.id, (sign, now))
            if before != sign:
                raise self._contended(record.created_at)
            if now - since >= self._place.lease.lasts:
                self._progress.say(f"the runner that had locked {self._place.recipe} is dead: going on")
                self._place.api.delete(record.id)
            elif now == since:
                self._progress.say(f"another machine has locked {self._place.recipe}; waiting whether it lives")

    def _contended(self, since: datetime) -> Contended:
        return Contended(
            f"another machine is at work on {self._place.recipe} on cloud {self._place.api.cloud}, "
            f"since {marks.time_text(since)}",
            hint="let it finish; the lock of a machine that dies ends by itself "
            f"after {self._place.lease.lasts:.0f} seconds",
        )


class _Held:
    """A lock in our hands, and its beat."""

    def __init__(self, place: Place, record: ImageRecord) -> None:
        self.record = record
        self._place = place
        self._count = 0
        self._last = time.monotonic()
        self._lost = False
        self._one = threading.Lock()
        self._end = threading.Event()

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Show that we live while the block runs, whatever it waits for."""
        thread = threading.Thread(target=self._beat_on, name=f"lock of {self._place.recipe}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()

    def check(self) -> None:
        """Raise ``Contended`` when somebody took us for dead; ``CloudError`` when that cannot be found out."""
        if not self._lost and time.monotonic() - self._last > self._place.lease.doubtful:
            self._beat()
        if self._lost:
            raise Contended(
                f"this run lost its lock of {self._place.recipe} on cloud {self._place.api.cloud}: it was silent so "
                "long that another one may have gone on in its place",
                hint="run it again",
            )

    def _beat_on(self) -> None:
        while not self._end.wait(self._place.lease.beat) and not self._lost:
            # A cloud in trouble is told with the next beat.
            with contextlib.suppress(CloudError):
                self._beat()

    def _beat(self) -> None:
        with self._one:
            began = time.monotonic()
            self._count += 1
            try:
                self._place.api.mark(self.record.id, _BEAT, str(self._count), timeout=self._place.lease.lasts / 3)
            except NotThere:
                self._lost = True
            self._last = began
