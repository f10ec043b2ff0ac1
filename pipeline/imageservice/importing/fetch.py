"""Fetching an import's data into staging.

What a dead worker had fetched is not fetched again, where the server vouches that its file is still the same: the bytes
are read once more, for the digests, and the fetch goes on behind them.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

from sqlalchemy import Connection

from pipeline.imageservice.catalog import images, quotas
from pipeline.imageservice.catalog.model import Image
from pipeline.imageservice.catalog.quotas import MEBIBYTE, Resource
from pipeline.imageservice.data.judge import Judge
from pipeline.imageservice.data.running import Stopping
from pipeline.imageservice.data.sources import FromStore
from pipeline.imageservice.data.staging import Staged
from pipeline.imageservice.data.taps import Digest
from pipeline.imageservice.data.transfer import Source, transfer
from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.importing import glance
from pipeline.imageservice.importing.job import Job
from pipeline.imageservice.importing.web import WebSource
from pipeline.imageservice.importing.web_request import Rest
from pipeline.imageservice.stores.store import Begun, Incomplete, Stored, Writer
from pipeline.signing.image_signature import Verifier

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def fetched(job: Job, verifier: Verifier | None) -> Staged:
    """The data of an import that fetches it. Raises what the source, staging and the checks raise."""
    if job.request.method == "glance-download":
        with glance.opened(job) as (source, digest):
            return _stage_source(job, source, verifier, [digest])
    begun = _taken_over(job)
    if begun is None:
        with contextlib.closing(_web_source(job, None)) as source:
            return _stage_source(job, source, verifier)
    with begun.reader, begun.writer:
        noted = job.state["partial"]
        with contextlib.closing(_web_source(job, Rest(begun.reader.length, noted["validator"]))) as source:
            if source.begin:
                return _stage_source(job, source, verifier, begun=begun)
            begun.writer.abort()  # the server has other data by now, which it sends from its first byte on
            return _stage_source(job, source, verifier)


def _taken_over(job: Job) -> Begun | None:
    """What a dead worker has fetched so far, as this one's; where the store cannot go on with it, it is removed."""
    left, staging = left_behind(job), job.service.staging
    begun = staging.take_over(left, attempt=job.attempt) if left is not None else None
    if left is not None and begun is None:
        staging.discard(left)
    return begun


def left_behind(job: Job) -> Incomplete | None:
    """What a dead worker of this task has fetched so far, where that can be gone on with.

    Only on the same, still running machine: after a crash of the whole machine nobody knows which bytes reached the
    disk.
    """
    noted = job.state.get("partial")
    if noted is None or noted["boot"] != _boot():
        return None
    same = [left for left in job.service.staging.incomplete() if left.attempt == noted["attempt"]]
    return next((left for left in same if left.name == job.image_id), None)


def put_into_staging(job: Job, source: Source, name: str, *, step: str) -> Staged:
    """Put what ``source`` delivers into staging, digesting and inspecting it on the way."""
    return _put(job, source, name, _judge(job, None, inspect=True), step)


def _web_source(job: Job, rest: Rest | None) -> WebSource:
    options = job.service.settings.imports.download
    return WebSource(job.request.uri or "", job.service.uri_filter, options, job.control, rest=rest)


def _boot() -> str:
    return _BOOT.read_text().strip()


def _judge(job: Job, verifier: Verifier | None, *, inspect: bool) -> Judge:
    return Judge(job.image(), job.service.settings.data, job.service.hash_algorithm, verifier, inspect=inspect)


def _stage_source(
    job: Job, source: WebSource, verifier: Verifier | None, demanded: Iterable[str] = (), begun: Begun | None = None
) -> Staged:
    whole = None if source.size is None else source.begin + source.size
    _reserve_staging(job, whole)
    if source.validator is not None and job.request.method == "web-download":
        job.remember(partial={"attempt": job.attempt, "validator": source.validator, "boot": _boot()})
    # What may be compressed is inspected when it has been unpacked.
    inspect = "image_decompression" not in job.service.settings.imports.plugins
    judge = _judge(job, verifier, inspect=inspect)
    checksums = [text for text in (job.request.checksum, *demanded) if text]
    staged = _put(job, source, job.image_id, judge, "fetch", checksums, begun)
    job.step("fetch", state="done")
    return staged


def _put(
    job: Job,
    source: Source,
    name: str,
    judge: Judge,
    step: str,
    checksums: Iterable[str] = (),
    begun: Begun | None = None,
) -> Staged:
    service, offset = job.service, begun.reader.length if begun else 0
    wanted = {text.partition(":")[0] for text in checksums}
    extra = [Digest(algorithm) for algorithm in sorted(wanted - set(judge.digests))]
    taps = [*judge.taps, *extra]
    with _sink(job, name, source, begun) as writer:
        if begun is not None:
            transfer(FromStore(begun.reader), (), service.buffers, taps=taps, control=job.control)
        moved = transfer(
            source,
            [writer],
            service.buffers,
            taps=taps,
            limit=service.settings.quotas.image_size - offset,
            control=job.control,
            progress=job.watch(step, begin=offset),
        )
        digests = {**judge.digests, **{tap.algorithm: tap.hexdigest() for tap in extra}}
        for text in checksums:
            _check_demanded(text, digests)
        judge.facts()
        job.control.check()
        writer.commit(replace=True)
    staged = Staged(name, offset + moved.size, digests, job.attempt)
    job.write(lambda connection, before: images.change(connection, before, size=staged.size))
    job.remember(staged=dataclasses.asdict(staged), partial=None)
    return staged


@contextlib.contextmanager
def _sink(job: Job, name: str, source: Source, begun: Begun | None) -> Iterator[Writer]:
    """A writer into staging, new or one that goes on."""
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

    def commit(self, *, replace: bool = False) -> Stored:
        """See ``Writer.commit``."""
        return self._writer.commit(replace=replace)

    def abort(self) -> None:
        """See ``Writer.abort``."""
        try:
            self._job.control.check()
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
    algorithm, _, wanted = demanded.partition(":")
    if found[algorithm] != wanted:
        raise Invalid(f"The data's {algorithm} is {found[algorithm]}, not {wanted} as demanded")


def _reserve_staging(job: Job, size: int | None) -> None:
    """Count what comes into staging, so that imports at once don't pass the project's limits."""
    project = job.state.get("project")
    limits = job.service.limits.of(project)

    def work(connection: Connection, before: Image) -> None:
        quotas.release(connection, before.id)
        quotas.check(connection, project, limits, {Resource.STAGE: (size or 0) // MEBIBYTE, Resource.UPLOADING: 0})
        wanted = (size or 0) * len(job.stores)
        quotas.check_bytes(connection, before.owner, job.service.storage_quota, wanted)
        quotas.reserve(connection, before.owner, before.id, staged=size or 0)

    job.write(work)
