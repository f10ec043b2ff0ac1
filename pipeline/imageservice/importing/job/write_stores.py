"""Write an import's data to stores: several at once, each at its own pace.

Data whose digests are known is read once for each store, independently. Data that has to be judged on the way is read
once for all of them; a store that holds up the others falls behind and goes on by itself. Nothing appears in any store
before the data has been judged.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

from pipeline.base.retry import RetryPolicy
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.transfer import LaggingSink, transfer
from pipeline.imageservice.data.verdict import DataFacts, DataInspector
from pipeline.imageservice.errors import Gone, ServiceError, StoreFailed, Unavailable
from pipeline.imageservice.importing.job.job import Job
from pipeline.imageservice.importing.job.product import PreparedData
from pipeline.imageservice.lifecycle.transfer.upload import commit
from pipeline.imageservice.model.images import Image
from pipeline.imageservice.stores.base import Store, Writer

log = logging.getLogger("imageservice.import")

_TIMEOUT = 5.0  # seconds that one store may hold up the others
_PAUSE = 2.0


class StoresFailed(ServiceError):
    """Not as many stores as are needed took the data. ``stores``: those that failed."""

    def __init__(self, message: str, stores: list[str]) -> None:
        super().__init__(message)
        self.stores = stores


class _Abandoned(Gone):
    """Another store failed, and all of them have to succeed."""


@dataclass
class _Filling:
    store: Store
    cancel_token: CancelToken
    writer: Writer | None = None


def fill(job: Job, product: PreparedData) -> DataFacts:
    """Put the product into every store that misses it; returns what is known of the data by then.

    Stores that fail for good are noted on the image. Raises ``StoresFailed`` when they must not fail, or all do.
    """
    names = job.missing_stores()
    fillings = [_Filling(job.service.stores[name], CancelToken(parent=job.cancel_token)) for name in names]
    for filling in fillings:
        job.step(filling.store.id, state="waiting", total=product.size)
    job.prepare(names)
    facts = product.facts
    if facts is None:
        facts, fillings = _fill_together(job, product, fillings)
        product = replace(product, facts=facts)
    if fillings:
        _fill_apart(job, product, fillings)
    _require_success(job)
    return facts


def _require_success(job: Job) -> None:
    if job.failed and (job.request.all_must_succeed or len(job.failed) == len(job.stores)):
        causes = "; ".join(f"store {name}: {job.steps[name].error}" for name in job.failed)
        raise StoresFailed(causes, list(job.failed))


def _inspector(job: Job, product: PreparedData) -> DataInspector:
    """Return what looks at the data on its way: its digests, and what a conversion has made of it."""
    service, image = job.service, job.image()
    algorithm = image.hash_algo or service.hash_algorithm
    converted = product.disk_format is not None
    seen = replace(image, disk_format=product.disk_format) if converted else image
    return DataInspector(seen, service.settings.data, algorithm, None, inspect=converted)


def _fill_apart(job: Job, product: PreparedData, fillings: list[_Filling]) -> None:
    """One reading for each store."""
    with ThreadPoolExecutor(len(fillings), "fill") as pool:
        futures = [pool.submit(_fill_one, job, product, filling) for filling in fillings]
        _collect(job, futures, fillings)


def _collect(job: Job, futures: list[Future[None]], fillings: list[_Filling]) -> None:
    """Wait for all; when one fails that must not, stop the others. Raises what ends the whole import."""
    fatal: BaseException | None = None
    for future in as_completed(futures):
        try:
            future.result()
        except _Abandoned:
            continue
        except BaseException as error:
            fatal = fatal or error
        if fatal is not None or (job.failed and job.request.all_must_succeed):
            for filling in fillings:
                filling.cancel_token.stop(_Abandoned("another store has failed"))
    if fatal is not None:
        raise fatal


def _fill_one(job: Job, product: PreparedData, filling: _Filling) -> None:
    """Write the whole product to one store, again if the store has a passing fault."""
    store, cancel_token = filling.store, filling.cancel_token
    retries = RetryPolicy(attempts=job.service.settings.imports.store_attempts, first=_PAUSE)
    for attempt in range(1, retries.attempts + 1):
        try:
            with _written(job, store, product.size) as writer, product.open(0) as source:
                watch = job.watch(store.id)
                transfer(source, [writer], job.service.buffers, cancel_token=cancel_token, progress=watch)
                _commit(job, product, store, writer)
            return
        except Gone:
            raise
        except Unavailable as error:
            job.cancel_token.check()
            if attempt == retries.attempts:
                job.store_failed(store.id, error)
                return
            log.info("store %s failed (%s), trying again", store.id, error.message)
            cancel_token.wait(retries.pause(attempt + 1))
        except ServiceError as error:
            job.store_failed(store.id, error)
            return


@contextlib.contextmanager
def _written(job: Job, store: Store, size: int) -> Iterator[Writer]:
    with store.writer(job.reserve(store), size=size, attempt=job.attempt) as writer:
        yield writer


def _commit(job: Job, product: PreparedData, store: Store, writer: Writer) -> None:
    job.cancel_token.check()
    stored = commit(writer)
    try:
        if stored.size != product.size:
            raise StoreFailed(f"Store {store.id} kept {stored.size} of {product.size} bytes")
        activating = None if job.request.all_must_succeed else product.facts
        job.stored(store, stored, product, activating)
    except (Gone, StoreFailed):
        writer.undo()
        raise


def _fill_together(job: Job, product: PreparedData, fillings: list[_Filling]) -> tuple[DataFacts, list[_Filling]]:
    """One reading for all stores, which also judges the data. Returns the facts, and the stores to try once more."""
    with contextlib.ExitStack() as open_writers:
        writers: dict[Writer, _Filling] = {}
        again: list[_Filling] = []
        for filling in fillings:
            try:
                writer = open_writers.enter_context(_written(job, filling.store, product.size))
            except ServiceError as error:
                _note_failure(job, filling, error, again)
                continue
            writers[writer] = filling
            job.step(filling.store.id, state="running")
        if not writers and not again:
            _require_success(job)
        inspector = _inspector(job, product)
        with product.open(0) as source:
            moved = transfer(
                source,
                list(writers),
                job.service.buffers,
                taps=inspector.taps,
                cancel_token=job.cancel_token,
                progress=_AllWatch(job, [filling.store.id for filling in writers.values()]),
                drop_failing=True,
                timeout=_TIMEOUT,
            )
        facts = inspector.facts()
        _require_same(job.image(), facts)
        product = replace(product, facts=facts)
        for writer, cause in moved.dropped.items():
            _note_failure(job, writers.pop(writer), cause, again)
        slow = {writer: (writers.pop(writer), behind) for writer, behind in moved.behind.items()}
        with ThreadPoolExecutor(max(1, len(slow)), "slow") as pool:
            futures = [
                pool.submit(_catch_up, job, product, filling, writer, behind)
                for writer, (filling, behind) in slow.items()
            ]
            for writer, filling in writers.items():
                try:
                    _commit(job, product, filling.store, writer)
                except Gone:
                    raise
                except ServiceError as error:
                    _note_failure(job, filling, error, again)
            _collect(job, futures, [filling for filling, _ in slow.values()])
        return facts, again


def _catch_up(job: Job, product: PreparedData, filling: _Filling, writer: Writer, behind: LaggingSink) -> None:
    """Go on with a store that fell behind the others, from where it was."""
    try:
        behind.settle(filling.cancel_token)
        with product.open(behind.offset) as source:
            watch = job.watch(filling.store.id)
            transfer(source, [writer], job.service.buffers, cancel_token=filling.cancel_token, progress=watch)
        _commit(job, product, filling.store, writer)
    except Gone:
        raise
    except ServiceError as error:
        job.store_failed(filling.store.id, error)


def _note_failure(job: Job, filling: _Filling, error: Exception, again: list[_Filling]) -> None:
    """Note that a store failed while all were filled: once more by itself after a passing fault, else it is out."""
    if isinstance(error, Unavailable):
        again.append(filling)
    elif isinstance(error, ServiceError):
        job.store_failed(filling.store.id, error)
    else:
        raise error


def _require_same(image: Image, facts: DataFacts) -> None:
    """Raise ``StoreFailed`` when a copy of an active image is not what the image is."""
    known = [(image.checksum, facts.checksum), (image.hash_value, facts.hash_value)]
    if image.status.has_settled_data and any(there is not None and there != here for there, here in known):
        raise StoreFailed("The data that was read is not what the image's digests say")


class _AllWatch:
    """Notes the progress of one reading as that of every store it fills."""

    def __init__(self, job: Job, names: list[str]) -> None:
        self._watches = [job.watch(name) for name in names]

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """See ``Progress``."""
        for watch in self._watches:
            watch.advance(done, total, unit)

    def say(self, text: str) -> None:
        """Nothing is said of it."""
