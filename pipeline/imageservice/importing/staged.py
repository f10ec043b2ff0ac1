"""What an import has in staging, and what that is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from pipeline.image.formats import FormatRefused, FormatTap, Verdict
from pipeline.imageservice.catalog.model import Image
from pipeline.imageservice.data.judge import format_limits, unsupported
from pipeline.imageservice.data.sources import FromStore
from pipeline.imageservice.data.staging import Staged
from pipeline.imageservice.data.taps import Digest
from pipeline.imageservice.data.transfer import transfer
from pipeline.imageservice.errors import Invalid, StoreFailed
from pipeline.imageservice.importing.decompress import HEAD, Unpacked, kind_of
from pipeline.imageservice.importing.fetch import fetched, put_into_staging
from pipeline.imageservice.importing.job import Job
from pipeline.imageservice.stores.errors import ObjectMissing
from pipeline.signing.image_signature import Verifier

_BLOCK = 1 << 20


def staged_data(job: Job, verifier: Verifier | None) -> Staged:
    """The data in staging: put there by the user, by an earlier worker, or now.

    Raises ``StoreFailed`` when it has been lost, and what fetching it raises.
    """
    known = job.state.get("staged")
    staged = Staged(**known) if known else None if job.request.fetches else Staged.of(job.image())
    if staged is not None and _is_there(job, staged):
        return staged
    if job.request.fetches:
        return fetched(job, verifier)
    if staged is None:
        raise Invalid("There is no staged data for this image")
    raise StoreFailed("The staged data is not there any more")


def _is_there(job: Job, staged: Staged) -> bool:
    found = job.service.staging.find(staged.name)
    return found is not None and found.size == staged.size


def staged_uri(job: Job, staged: Staged) -> str:
    """The address of staged data."""
    found = job.service.staging.find(staged.name)
    if found is None:
        raise StoreFailed("The staged data is not there any more")
    return found.uri


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
        plain = put_into_staging(job, source, f"{job.image_id}.plain", step="decompress")
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
