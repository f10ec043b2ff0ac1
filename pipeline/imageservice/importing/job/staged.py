"""Find what an import has in staging, and what that is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from pipeline.image.formats import FormatLimits, FormatRefused, FormatTap, FormatVerdict
from pipeline.imageservice.data.sources import FromStore
from pipeline.imageservice.data.taps import DigestTap
from pipeline.imageservice.data.transfer import transfer
from pipeline.imageservice.data.verdict import unsupported
from pipeline.imageservice.errors import Invalid, StoreFailed
from pipeline.imageservice.importing.job.fetch import fetched, put_into_staging
from pipeline.imageservice.importing.job.job import Job
from pipeline.imageservice.importing.sources.decompress import HEAD, DecompressedSource, kind_of
from pipeline.imageservice.lifecycle.guards.format_limits import limits_for, other_content
from pipeline.imageservice.lifecycle.transfer.staging import Staged
from pipeline.imageservice.model.images import Image
from pipeline.imageservice.stores.errors import ObjectMissing
from pipeline.signing.image_signature import Verifier

_BLOCK = 1 << 20


def staged_data(job: Job, verifier: Verifier | None) -> Staged:
    """Return the data in staging: put there by the user, by an earlier worker, or now.

    Raises ``StoreFailed`` when it has been lost, and what fetching it raises.
    """
    known = job.state.get("staged")
    staged = Staged(**known) if known else None if job.request.fetches else Staged.of(job.image())
    if staged is not None and _exists(job, staged):
        return staged
    if job.request.fetches:
        return fetched(job, verifier)
    if staged is None:
        raise Invalid("There is no staged data for this image")
    raise StoreFailed("The staged data is not there any more")


def _exists(job: Job, staged: Staged) -> bool:
    found = job.service.staging.find(staged.name)
    return found is not None and found.size == staged.size


def staged_uri(job: Job, staged: Staged) -> str:
    """Return the address of staged data."""
    found = job.service.staging.find(staged.name)
    if found is None:
        raise StoreFailed("The staged data is not there any more")
    return found.uri


def unpacked(job: Job, image: Image, staged: Staged, *, signed: bool) -> Staged:
    """Return the staged data without compression, where the operator wants that and it has one."""
    imports = job.service.settings.imports
    if not imports.does("image_decompression") or image.container_format == "compressed":
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
        source = DecompressedSource(
            FromStore(reader), kind, staged.size, imports.decompression.max_ratio, job.cancel_token
        )
        plain = put_into_staging(job, source, step="decompress")
    job.step("decompress", state="done")
    with contextlib.suppress(ObjectMissing):
        job.service.staging.delete(uri)
    return plain


def inspected(job: Job, image: Image, staged: Staged) -> FormatVerdict | None:
    """Return the format of staged data; ``None`` where it is no disk. Raises ``UnsupportedContent``."""
    if image.container_format != "bare":
        return None
    options = job.service.settings.data
    tap = FormatTap(import_limits(job))
    for block in _enough(job, staged, tap):
        tap.feed(block)
    try:
        verdict = tap.finish(image.disk_format, require_match=options.require_format_match)
    except FormatRefused as refused:
        raise unsupported(refused) from None
    content = other_content(image, verdict)
    if content is not None:
        job.note("inspect", f"declared raw, its content is {content}")
    return verdict


def import_limits(job: Job) -> FormatLimits:
    """Return what an import's data may be. Where images are converted, nothing but a disk is left as it is for raw."""
    service = job.service
    targets = [service.stores[name] for name in job.stores if name in service.stores]
    return limits_for(service, targets, raw_must_be_raw=service.settings.imports.does("image_conversion"))


def digest_of(job: Job, staged: Staged, algorithm: str) -> str:
    """Return a digest of staged data, as it was computed on the way in, else by reading it."""
    if algorithm in staged.digests:
        return staged.digests[algorithm]
    tap = DigestTap(algorithm)
    with job.service.staging.reader(staged_uri(job, staged)) as reader:
        transfer(FromStore(reader), (), job.service.buffers, taps=[tap], cancel_token=job.cancel_token)
    return tap.hexdigest()


def _enough(job: Job, staged: Staged, tap: FormatTap) -> Iterable[bytes]:
    """Yield what a verdict needs of the data: its beginning, until the format is decided, and its end."""
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
