"""Getting an import's data into staging, and finding out what it is."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable

from sqlalchemy import Connection

from pipeline.image.formats import FormatRefused, FormatTap, Verdict
from pipeline.imageservice.catalog import images, quotas
from pipeline.imageservice.catalog.model import Image
from pipeline.imageservice.catalog.quotas import MEBIBYTE, Resource
from pipeline.imageservice.data.judge import Judge, format_limits, unsupported
from pipeline.imageservice.data.sources import FromStore
from pipeline.imageservice.data.staging import Staged
from pipeline.imageservice.data.taps import Digest
from pipeline.imageservice.data.transfer import Source, transfer
from pipeline.imageservice.errors import Invalid, StoreFailed
from pipeline.imageservice.importing.decompress import HEAD, Unpacked, kind_of
from pipeline.imageservice.importing.job import Job
from pipeline.imageservice.importing.web import WebSource
from pipeline.imageservice.stores.errors import ObjectMissing
from pipeline.signing.image_signature import Verifier

_BLOCK = 1 << 20


def staged_data(job: Job, verifier: Verifier | None) -> Staged:
    """The data in staging: put there by the user, by an earlier worker, or now.

    Raises ``StoreFailed`` when it has been lost, and what fetching it raises.
    """
    if known := job.state.get("staged"):
        staged = Staged(**known)
    elif job.request.method == "web-download":
        staged = _download(job, verifier)
    elif job.request.method == "glance-download":
        raise StoreFailed("The process that fetched the data has ended; ask for the import again")
    else:
        noted = Staged.of(job.image())
        if noted is None:
            raise Invalid("There is no staged data for this image")
        staged = noted
    found = job.service.staging.find(staged.name)
    if found is None or found.size != staged.size:
        raise StoreFailed("The staged data is not there any more")
    return staged


def staged_uri(job: Job, staged: Staged) -> str:
    """The address of staged data."""
    found = job.service.staging.find(staged.name)
    if found is None:
        raise StoreFailed("The staged data is not there any more")
    return found.uri


def _download(job: Job, verifier: Verifier | None) -> Staged:
    options = job.service.settings.imports.download
    source = WebSource(job.request.uri or "", job.service.uri_filter, options, job.control)
    with contextlib.closing(source):
        return stage_source(job, source, verifier)


def stage_source(job: Job, source: Source, verifier: Verifier | None) -> Staged:
    """Put what ``source`` delivers into staging, digesting and inspecting it on the way."""
    _reserve_staging(job, source.size)
    inspect = "image_decompression" not in job.service.settings.imports.plugins
    staged = _stage(job, source, job.image_id, verifier, step="fetch", inspect=inspect)
    job.step("fetch", state="done")
    return staged


def unpacked(job: Job, image: Image, staged: Staged, *, signed: bool) -> Staged:
    """The staged data without compression, where the operator wants that and it has one."""
    imports = job.service.settings.imports
    if "image_decompression" not in imports.plugins or image.container_format == "compressed":
        return staged
    uri = staged_uri(job, staged)
    with job.service.staging.reader(uri, length=min(HEAD, staged.size)) as reader:
        kind = kind_of(reader.read(HEAD))
    if kind is None:
        return staged
    if signed:
        if imports.conversion.signed == "refuse":
            raise Invalid(f"The image is signed and compressed ({kind}); signed images are not unpacked here")
        return staged
    with job.service.staging.reader(uri) as reader:
        source = Unpacked(FromStore(reader), kind, staged.size, imports.decompression.max_ratio, job.control)
        plain = _stage(job, source, f"{job.image_id}.plain", None, step="decompress", inspect=True)
    job.step("decompress", state="done")
    with contextlib.suppress(ObjectMissing):
        job.service.staging.delete(uri)
    return plain


def inspected(job: Job, image: Image, staged: Staged) -> Verdict | None:
    """The format of staged data; ``None`` where it is no disk. Raises ``UnsupportedContent``."""
    if image.container_format != "bare":
        return None
    options = job.service.settings.data
    tap = FormatTap(format_limits(options))
    for block in _enough(job, staged, tap):
        tap.feed(block)
    try:
        return tap.finish(image.disk_format, require_match=options.require_format_match)
    except FormatRefused as refused:
        raise unsupported(refused) from None


def digest_of(job: Job, staged: Staged, algorithm: str) -> str:
    """A digest of staged data, as it was computed on the way in, else by reading it."""
    if algorithm in staged.digests:
        return staged.digests[algorithm]
    tap = Digest(algorithm)
    with job.service.staging.reader(staged_uri(job, staged)) as reader:
        transfer(FromStore(reader), (), job.service.buffers, taps=[tap], control=job.control)
    return tap.hexdigest()


def _enough(job: Job, staged: Staged, tap: FormatTap) -> Iterable[bytes]:
    """What a verdict needs of the data: its beginning, until the format is decided, and its end."""
    uri, read = staged_uri(job, staged), 0
    with job.service.staging.reader(uri) as reader:
        while not tap.decided and (block := reader.read(_BLOCK)):
            read += len(block)
            yield block
    left = staged.size - read
    if left > _BLOCK:
        tap.skip(left - _BLOCK)
        left = _BLOCK
    if left:
        with job.service.staging.reader(uri, offset=staged.size - left, length=left) as reader:
            while block := reader.read(_BLOCK):
                yield block


def _stage(job: Job, source: Source, name: str, verifier: Verifier | None, *, step: str, inspect: bool) -> Staged:
    service = job.service
    judge = Judge(job.image(), service.settings.data, service.hash_algorithm, verifier, inspect=inspect)
    demanded = (job.request.checksum or "").partition(":")[0] if step == "fetch" else ""
    extra = [Digest(demanded)] if demanded and demanded not in judge.digests else []
    with service.staging.writer(name, size=source.size, attempt=job.attempt) as writer:
        moved = transfer(
            source,
            [writer],
            service.buffers,
            taps=[*judge.taps, *extra],
            limit=service.settings.quotas.image_size,
            control=job.control,
            progress=job.watch(step),
        )
        digests = {**judge.digests, **{tap.algorithm: tap.hexdigest() for tap in extra}}
        if demanded:
            _check_demanded(job.request.checksum or "", digests[demanded])
        judge.facts()
        job.control.check()
        writer.commit(replace=True)
    staged = Staged(name, moved.size, digests, job.attempt)
    job.write(lambda connection, before: images.change(connection, before, size=staged.size))
    job.remember(staged=dataclasses.asdict(staged))
    return staged


def _check_demanded(demanded: str, found: str) -> None:
    algorithm, _, wanted = demanded.partition(":")
    if found != wanted:
        raise Invalid(f"The data's {algorithm} is {found}, not {wanted} as demanded")


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
