"""Unpack one layer: the one file in an archive, or what was compressed, within bounds of size and memory."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import zstandard

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.image.packing.kinds import HEAD, Packing, packing_of
from pipeline.image.packing.xz_stream import XzStream
from pipeline.image.packing.zstd_frames import ZstdFrames

_Entry = TypeVar("_Entry")
_BLOCK = 1 << 20
_MEMORY = 256 << 20  # of a decoder
_MAX_ENTRIES = 10_000
_DISKS = (".vmdk", ".qcow2", ".img", ".raw", ".vhd", ".vhdx", ".vdi", ".iso")
_BROKEN = (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError, struct.error)


@dataclass(frozen=True)
class UnpackedFile:
    """What was unpacked. ``sha256`` is of the content, ``packed_sha256`` of the file that it came in; both hex."""

    packing: Packing
    size: int
    sha256: str
    packed_sha256: str

    @property
    def summary(self) -> str:
        """For people."""
        return f"unpacked from {self.packing} (sha256 {self.packed_sha256}): {self.size} bytes, sha256 {self.sha256}"


def packing_of_file(path: Path) -> Packing | None:
    """Return what a file is packed in, if it is. Raises ``OSError``."""
    with path.open("rb") as file:
        return packing_of(file.read(HEAD))


def unpack(path: Path, target: Path, *, limit: int, progress: Progress = nothing) -> UnpackedFile:
    """Write what ``path`` holds to ``target``, which appears whole or not at all.

    ``limit``: bytes that the content may have. Raises ``PipelineError`` for what is damaged, too large, packed twice,
    or holds several disks.
    """
    packing = packing_of_file(path)
    if packing is None:
        raise PipelineError(f"{path.name} is not packed")
    progress.say(f"unpacking {path.name}, which is packed with {packing}")
    with path.open("rb") as packed, atomic.new_file(target) as temporary, temporary.open("wb") as file:
        source = _Counted(packed, path.stat().st_size, progress)
        try:
            with _content(path.name, packing, source) as content:
                size, digest = _copy(path.name, content, file, limit)
        except PipelineError:
            raise
        except (*_BROKEN, tarfile.TarError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise PipelineError(
                f"{path.name} cannot be unpacked as {packing}: {error or type(error).__name__}",
                hint="fetch it again, or unpack it yourself: " + packing.command.replace("FILE", path.name),
            ) from None
        inner = packing_of(_beginning(temporary, file))
        if inner is not None:
            raise PipelineError(
                f"{path.name} is packed twice: with {packing}, and in it with {inner}",
                hint="unpack it yourself: " + packing.command.replace("FILE", path.name),
            )
    with path.open("rb") as packed:
        return UnpackedFile(packing, size, digest, hashlib.file_digest(packed, "sha256").hexdigest())


def _beginning(path: Path, file: IO[bytes]) -> bytes:
    file.flush()
    with path.open("rb") as made:
        return made.read(HEAD)


def _copy(name: str, content: Any, file: IO[bytes], limit: int) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    while block := content.read(_BLOCK):
        size += len(block)
        if size > limit:
            raise PipelineError(
                f"{name} becomes larger than {limit} bytes when it is unpacked",
                hint="that is what disk.size allows; is it the right file?",
            )
        digest.update(block)
        # Zeros stay holes.
        if any(block):
            file.write(block)
        else:
            file.seek(len(block), io.SEEK_CUR)
    file.truncate(size)
    return size, digest.hexdigest()


@contextlib.contextmanager
def _content(name: str, packing: Packing, file: _Counted) -> Iterator[Any]:
    match packing:
        case Packing.GZIP:
            yield gzip.GzipFile(fileobj=file)
        case Packing.BZIP2:
            yield bz2.BZ2File(cast(IO[bytes], file))
        case Packing.XZ:
            yield XzStream(file)
        case Packing.ZSTD:
            frames = ZstdFrames(file)
            decoder = zstandard.ZstdDecompressor(max_window_size=_MEMORY // 2)
            yield decoder.stream_reader(cast(IO[bytes], frames), read_across_frames=True)
            frames.require_end()  # the decoder takes the end of its input for the end of the data
        case Packing.ZIP:
            with zipfile.ZipFile(cast(IO[bytes], file)) as archive:
                listed = [entry for entry in archive.infolist()[:_MAX_ENTRIES] if not entry.is_dir()]
                disk = _disk(name, {entry.filename: entry for entry in listed})
                with archive.open(disk) as content:
                    yield content
        case Packing.TAR | Packing.OVA:
            with tarfile.open(fileobj=cast(IO[bytes], file), mode="r:") as archive:
                entries = {entry.name: entry for entry in _regular(name, archive)}
                yield archive.extractfile(_disk(name, entries))


def _regular(name: str, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for count, entry in enumerate(archive):
        if count >= _MAX_ENTRIES:
            raise PipelineError(f"{name} holds more than {_MAX_ENTRIES} files")
        if entry.isreg():
            yield entry


def _disk(name: str, entries: Mapping[str, _Entry]) -> _Entry:
    """Return the one file, or the one among others that is called like a disk image."""
    named = [each for each in entries if each.lower().endswith(_DISKS)]
    found = list(entries) if len(entries) == 1 else named
    if len(found) != 1:
        shown = ", ".join(repr(each) for each in sorted(found or entries)[:6]) or "nothing"
        raise PipelineError(
            f"{name} does not hold one disk image: there is {shown}", hint="unpack it, and give the disk you mean"
        )
    return entries[found[0]]


class _Counted(io.RawIOBase):
    """A file that tells how far it was read."""

    def __init__(self, file: IO[bytes], size: int, progress: Progress) -> None:
        super().__init__()
        self._file, self._size, self._progress = file, size, progress

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._progress.advance(self._file.tell(), self._size)
        return len(data)
