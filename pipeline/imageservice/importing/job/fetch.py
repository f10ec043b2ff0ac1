"""Fetch an import's data into staging.

What a dead worker had fetched is not fetched again, where the server vouches that its file is still the same: the bytes
are read once more, for the digests, and the fetch goes on behind them.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from pipeline.imageservice.cancellation.active_transfers import Stopping
from pipeline.imageservice.catalog import quotas
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.images.objects import ObjectState
from pipeline.imageservice.catalog.quotas import MEBIBYTE, QuotaResource, Reservation
from pipeline.imageservice.data.sources import FromStore
from pipeline.imageservice.data.taps import DigestTap
from pipeline.imageservice.data.transfer import Source, transfer
from pipeline.imageservice.data.verdict import DataInspector
from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.fetching.answer import FilePart
from pipeline.imageservice.fetching.attempts import Attempts
from pipeline.imageservice.fetching.errors import StartAnew
from pipeline.imageservice.importing.job import glance
from pipeline.imageservice.importing.job.job import Job
from pipeline.imageservice.importing.sources.web import WebSource, retry_policy
from pipeline.imageservice.lifecycle.guards import objects
from pipeline.imageservice.lifecycle.transfer.quota_watch import QuotaWatch
from pipeline.imageservice.lifecycle.transfer.staging import Staged
from pipeline.imageservice.model.images import Image
from pipeline.imageservice.stores.base import IncompleteObject, StoredObject, UnfinishedWrite, Writer
from pipeline.signing.image_signature import Verifier

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def fetched(job: Job, verifier: Verifier | None) -> Staged:
    """Return the data of an import that fetches it. Raises what the source, staging and the checks raise."""
    options = job.service.settings.imports.download
    attempts = Attempts(
        retry_policy(options), job.cancel_token, seconds=options.total_seconds, note=partial(job.note, "fetch")
    )
    while True:
        try:
            return _fetched(job, verifier, attempts)
        except StartAnew as broken:
            # The writer and everything that has seen the bytes are gone by now, so that no two states of a file mix.
            attempts.failed(broken)


def _fetched(job: Job, verifier: Verifier | None, attempts: Attempts) -> Staged:
    if job.request.method == "glance-download":
        with glance.opened(job, attempts) as (source, digest):
            return _stage_source(job, source, verifier, [digest])
    taken = _taken_over(job)
    if taken is None:
        with contextlib.closing(_web_source(job, attempts, None)) as source:
            return _stage_source(job, source, verifier)
    begun = taken.begun
    with begun.reader, begun.writer:
        part = FilePart(begun.reader.length, job.state["partial"]["validator"])
        with contextlib.closing(_web_source(job, attempts, part)) as source:
            if source.begin:
                return _stage_source(job, source, verifier, taken=taken)
            begun.writer.abort()  # the server has other data by now, which it sends from its first byte on
            return _stage_source(job, source, verifier)


@dataclass(frozen=True)
class _TakenOver:
    """What another worker has begun, and the name that this one is to give it."""

    begun: UnfinishedWrite
    name: str


def _taken_over(job: Job) -> _TakenOver | None:
    """Take over what a dead worker has fetched so far; where the store cannot go on with it, it is removed."""
    left, staging = left_behind(job), job.service.staging
    if left is None:
        return None
    name = job.reserve(staging)
    begun = staging.take_over(left, attempt=job.attempt, name=name)
    if begun is None:
        staging.discard(left)
        return None
    return _TakenOver(begun, name)


def left_behind(job: Job) -> IncompleteObject | None:
    """Return what a dead worker of this task has fetched so far, where that can be gone on with.

    Only on the same, still running machine: after a crash of the whole machine nobody knows which bytes reached the
    disk.
    """
    noted = job.state.get("partial")
    if noted is None or noted["boot"] != _boot():
        return None
    same = [left for left in job.service.staging.incomplete() if left.attempt == noted["attempt"]]
    return next((left for left in same if left.name == noted.get("name", job.image_id)), None)


def put_into_staging(job: Job, source: Source, *, step: str) -> Staged:
    """Put what ``source`` delivers into staging, digesting and inspecting it on the way."""
    name = job.reserve(job.service.staging)
    reservation = job.write(lambda connection, before: quotas.reserve(connection, before.owner, before.id))
    return _put(job, source, _inspector(job, None, inspect=True), step, name, reservation)


def _web_source(job: Job, attempts: Attempts, part: FilePart | None) -> WebSource:
    options = job.service.settings.imports.download
    return WebSource(job.request.uri or "", job.service.ssrf_filter, options, attempts, part=part)


def _boot() -> str:
    return _BOOT.read_text().strip()


def _inspector(job: Job, verifier: Verifier | None, *, inspect: bool) -> DataInspector:
    return DataInspector(job.image(), job.service.settings.data, job.service.hash_algorithm, verifier, inspect=inspect)


def _stage_source(
    job: Job,
    source: WebSource,
    verifier: Verifier | None,
    demanded: Iterable[str] = (),
    taken: _TakenOver | None = None,
) -> Staged:
    name = taken.name if taken is not None else job.reserve(job.service.staging)
    whole = None if source.size is None else source.begin + source.size
    reservation = _reserve_staging(job, whole)
    resumable = _resumable(job, source, name)
    if resumable != job.state.get("partial"):
        job.remember(partial=resumable)
    # What may be compressed is inspected when it has been unpacked.
    inspect = not job.service.settings.imports.does("image_decompression")
    inspector = _inspector(job, verifier, inspect=inspect)
    checksums = [text for text in (job.request.checksum, *demanded) if text]
    begun = taken.begun if taken is not None else None
    staged = _put(job, source, inspector, "fetch", name, reservation, checksums, begun)
    job.step("fetch", state="done")
    return staged


def _resumable(job: Job, source: WebSource, name: str) -> dict[str, str] | None:
    """Return what another worker has to know to go on with this fetch; ``None`` where it could not."""
    if source.validator is None or job.request.method != "web-download":
        return None
    return {"attempt": job.attempt, "name": name, "validator": source.validator, "boot": _boot()}


def _put(
    job: Job,
    source: Source,
    inspector: DataInspector,
    step: str,
    name: str,
    reservation: Reservation,
    checksums: Iterable[str] = (),
    begun: UnfinishedWrite | None = None,
) -> Staged:
    service, offset = job.service, begun.reader.length if begun else 0
    algorithms = {text.partition(":")[0] for text in checksums}
    extra = [DigestTap(algorithm) for algorithm in sorted(algorithms - set(inspector.digests))]
    taps = [*inspector.taps, *extra]
    watch = QuotaWatch(
        service,
        reservation,
        job.state.get("project"),
        staged=True,
        copies=len(job.stores) if step == "fetch" else 0,
        begin=offset,
        check=job.check,
        further=job.watch(step, begin=offset),
    )
    with _sink(job, name, source, begun) as writer:
        if begun is not None:
            transfer(FromStore(begun.reader), (), service.buffers, taps=taps, cancel_token=job.cancel_token)
        moved = transfer(
            source,
            [writer],
            service.buffers,
            taps=taps,
            limit=service.settings.quotas.image_size - offset,
            cancel_token=job.cancel_token,
            progress=watch,
        )
        digests = {**inspector.digests, **{tap.algorithm: tap.hexdigest() for tap in extra}}
        for text in checksums:
            _check_demanded(text, digests)
        inspector.facts()
        job.cancel_token.check()
        stored = writer.commit(replace=True)
    staged = Staged(name, offset + moved.size, digests, job.attempt)

    def keep(connection: Connection, before: Image) -> None:
        objects.settle(connection, service, service.staging, before.id, stored.uri, ObjectState.STAGED)
        image_records.change(connection, before, size=staged.size)
        quotas.fulfil(connection, before.id, staged=staged.size)

    job.write(keep)
    job.remember(staged=dataclasses.asdict(staged), partial=None)
    return staged


@contextlib.contextmanager
def _sink(job: Job, name: str, source: Source, begun: UnfinishedWrite | None) -> Iterator[Writer]:
    """Provide a writer into staging, new or one that goes on."""
    writer = begun.writer if begun else job.service.staging.writer(name, size=source.size, attempt=job.attempt)
    with _Kept(job, writer) as kept:
        yield kept


class _Kept(Writer):
    """A writer whose bytes stay for the next worker when this one is told to stop."""

    def __init__(self, job: Job, writer: Writer) -> None:
        self._job, self._writer = job, writer

    def write(self, data: memoryview) -> None:
        """See ``Writer.write``."""
        self._writer.write(data)

    def hole(self, length: int) -> None:
        """See ``Writer.hole``."""
        self._writer.hole(length)

    def commit(self, *, replace: bool = False) -> StoredObject:
        """See ``Writer.commit``."""
        return self._writer.commit(replace=replace)

    def abort(self) -> None:
        """See ``Writer.abort``."""
        try:
            self._job.cancel_token.check()
        except Stopping:
            self._writer.leave()
        except Exception:
            self._writer.abort()
        else:
            self._writer.abort()

    def undo(self) -> None:
        """See ``Writer.undo``."""
        self._writer.undo()


def _check_demanded(demanded: str, found: dict[str, str]) -> None:
    algorithm, _, expected = demanded.partition(":")
    if found[algorithm] != expected:
        raise Invalid(f"The data's {algorithm} is {found[algorithm]}, not {expected} as demanded")


def _reserve_staging(job: Job, size: int | None) -> Reservation:
    """Count what comes into staging, so that imports at once don't pass the project's limits."""
    project = job.state.get("project")
    limits = job.service.limits.of(project)

    def work(connection: Connection, before: Image) -> Reservation:
        quotas.release(connection, before.id)
        quotas.check(
            connection, project, limits, {QuotaResource.STAGE: (size or 0) // MEBIBYTE, QuotaResource.UPLOADING: 0}
        )
        stored = (size or 0) * len(job.stores)
        quotas.check_bytes(connection, before.owner, job.service.storage_quota, stored)
        return quotas.reserve(connection, before.owner, before.id, staged=size or 0, stored=stored)

    return job.write(work)
