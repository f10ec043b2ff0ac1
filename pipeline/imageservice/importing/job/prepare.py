"""Prepare an import's data for the stores: check it, and bring it into the form that was asked for."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.image import convert
from pipeline.image.formats import FormatRefused, FormatVerdict
from pipeline.imageservice.data.sources import FromStore
from pipeline.imageservice.data.transfer import Source, transfer
from pipeline.imageservice.data.verdict import DataFacts, check_signature, unsupported
from pipeline.imageservice.errors import ServiceError, StoreFailed, UnsupportedContent
from pipeline.imageservice.importing.job import conversion
from pipeline.imageservice.importing.job.job import Job
from pipeline.imageservice.importing.job.product import PreparedData, in_file, in_store
from pipeline.imageservice.importing.job.staged import (
    digest_of,
    import_limits,
    inspected,
    staged_data,
    staged_uri,
    unpacked,
)
from pipeline.imageservice.importing.sources import nbd
from pipeline.imageservice.lifecycle.guards import signatures
from pipeline.imageservice.lifecycle.transfer.staging import Staged
from pipeline.imageservice.stores.file.options import FileOptions
from pipeline.imageservice.stores.file.store import FileStore


@contextlib.contextmanager
def prepared(job: Job) -> Iterator[PreparedData]:
    """Prepare the data of an import, for as long as the block runs. Raises the service's errors."""
    if job.request.is_copy:
        yield _copied(job)
        return
    data = staged_data(job, signatures.verifier_from(job.state, job.image()))
    image = job.signed = job.image()  # its formats may be those of its source by now, its signature may be a new one
    verifier = signatures.verifier_from(job.state, image)
    signed = verifier is not None
    data = unpacked(job, image, data, signed=signed)
    verdict = inspected(job, image, data)
    if verifier is not None:
        check_signature(verifier, digest_of(job, data, verifier.algorithm))
    target = conversion.target_of(job, image, verdict, signed=signed)
    if target is not None and verdict is not None:
        with _converted(job, data, verdict, target) as product:
            yield product
        return
    algorithm = job.service.hash_algorithm
    facts = DataFacts(
        checksum=digest_of(job, data, "md5"),
        hash_algo=algorithm,
        hash_value=digest_of(job, data, algorithm),
        virtual_size=verdict.virtual_size if verdict else None,
        format=verdict.format if verdict else None,
    )
    yield in_store(job.service.staging, staged_uri(job, data), data.size, facts)


def staged(job: Job) -> None:
    """Only bring the data into staging. Raises the service's errors."""
    staged_data(job, signatures.verifier_from(job.state, job.image()))


def _copied(job: Job) -> PreparedData:
    """Return the image's data, in the store from which it is read best."""
    image, service = job.image(), job.service
    if image.size is None:
        raise StoreFailed("The image has no data to copy")
    locations = [
        (location, service.stores[location.store])
        for location in image.readable_locations
        if location.store is not None and location.store in service.stores and location.store not in job.stores
    ]
    ranked = sorted(locations, key=lambda one: (not one[1].capabilities.files, one[1] is not service.stores.default))
    last: ServiceError | None = None
    for location, store in ranked:
        try:
            if store.size(location.url) == image.size:
                return in_store(store, location.url, image.size, None)
        except ServiceError as error:
            last = error
    raise last or StoreFailed("No store that is configured here holds the data of the image")


@contextlib.contextmanager
def _converted(job: Job, staged: Staged, verdict: FormatVerdict, target: str) -> Iterator[PreparedData]:
    """Provide the staged image in another format: raw is read through QEMU as it is needed, others are written once."""
    seconds = int(job.service.settings.imports.conversion.seconds)
    with _as_file(job, staged) as path:
        if target == "raw" and verdict.virtual_size is not None:
            with (
                _judged_again(job, path, verdict) as image,
                nbd.served(image, verdict.disk_format, seconds=16 * seconds) as socket,
            ):
                yield _through(socket, verdict.virtual_size)
            return
        job.step(conversion.STEP, state="running")
        made = path.with_name(f"{job.image_id}.converted")
        try:
            convert.convert(
                path,
                verdict.disk_format,
                made,
                convert.ConvertOptions(target, timeout=seconds),
                limits=import_limits(job),
                progress=job.watch(conversion.STEP, of=verdict.virtual_size),
                mode=0o600,
            )
            job.step(conversion.STEP, state="done")
            yield in_file(made, target)
        except FormatRefused as refused:
            raise unsupported(refused) from None
        except PipelineError as error:
            if isinstance(error, ServiceError):
                raise
            raise UnsupportedContent(f"The image cannot be converted to {target}", detail=str(error)) from None
        finally:
            made.unlink(missing_ok=True)


@contextlib.contextmanager
def _judged_again(job: Job, path: Path, verdict: FormatVerdict) -> Iterator[int]:
    """Provide a descriptor of the image, judged immediately before QEMU opens it, and found to be whole."""
    with path.open("rb", buffering=0) as file:
        try:
            convert.judged(path.name, file.fileno(), verdict.disk_format, import_limits(job))
        except FormatRefused as refused:
            raise unsupported(refused) from None
        yield file.fileno()


def _through(socket: Path, size: int) -> PreparedData:
    @contextlib.contextmanager
    def open_at(offset: int) -> Iterator[Source]:
        with contextlib.closing(nbd.NbdSource(socket, offset=offset)) as source:
            yield source

    return PreparedData(size, None, open_at, "raw")


@contextlib.contextmanager
def _as_file(job: Job, staged: Staged) -> Iterator[Path]:
    """Staged data as a file that QEMU can open: itself, or a copy on this node while the block runs."""
    uri = staged_uri(job, staged)
    with job.service.staging.reader(uri) as reader:
        if reader.file is not None:
            yield Path(str(reader.file.name))
            return
        folder = job.service.settings.folder / "work"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic.sweep(folder)
        scratch = atomic.temporary_name(folder / job.attempt)
        scratch.mkdir(mode=0o700)
        try:
            local = FileStore(FileOptions.model_validate({"id": "work", "directories": [str(scratch)]}))
            with local.writer("image", size=staged.size, attempt=job.attempt) as writer:
                transfer(FromStore(reader), [writer], job.service.buffers, cancel_token=job.cancel_token)
                writer.commit()
            yield scratch / "image"
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
