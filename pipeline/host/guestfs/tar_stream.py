"""Stream the files of an appliance's mounted file systems as a tar that is read while it is written.

libguestfs's ``tar_out`` sends messages of 8 KiB, which is most of the work of an emulated processor that reads an
image. So each appliance gets a serial port more, and its own tar writes into that, in records as large as the port
takes in one piece. The other end is a socket: nothing of the image gets onto this machine's disk on the way.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from pipeline.base.errors import PipelineError

_NAME = "tree"
_SOCKET = "tree.sock"
# Linux's virtio_console takes at most so much in one piece.
_RECORD = 32 << 10
_BLOCK = 1 << 20
# As libguestfs's daemon calls it (daemon/tar.c in its source), but for the size of a record. What comes after tar's end
# is one record more, by its mark: it cannot be in the image, which was there before.
_START = """exec 3>/dev/virtio-ports/{name}
setsid sh -c 'tar -C /sysroot -b {blocks} --numeric-owner{attributes} -cf - . >&3 2>/tmp/{name}.stderr
{{ echo "{mark} $?"; head -c {most} /tmp/{name}.stderr; head -c {record} /dev/zero; }} | head -c {record} >&3
' </dev/null >/dev/null 2>&1 &
echo $!"""
# Whoever still has the port open keeps the next stream from it, and a killed tar its file systems from being unmounted.
_STOP = """exec 2>/dev/null; kill -s KILL -- -{group}
n=0; while kill -s 0 -- -{group} && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done"""
_MOST_SAID = 16 << 10
_SHOWN = 20


@contextlib.contextmanager
def port(scratch: Path) -> Iterator[tuple[tuple[str, str], ...]]:
    """Provide QEMU's options for the port; the appliance must be launched before the block ends.

    ``scratch`` is a private folder of one appliance at a time.
    """
    with _folder(scratch, f"/proc/{os.getpid()}") as folder:
        socket_options = f"socket,id={_NAME},path={folder}/{_SOCKET},server=on,wait=off"
        yield ("-chardev", socket_options), ("-device", f"virtserialport,chardev={_NAME},name={_NAME}")


def remove(scratch: Path) -> None:
    """Remove the socket that an appliance leaves in its folder."""
    (scratch / _SOCKET).unlink(missing_ok=True)


@contextlib.contextmanager
def opened(handle: Any, scratch: Path, *, attributes: bool = False) -> Iterator[tarfile.TarFile]:
    """Open the archive of all that is mounted, with or without extended attributes and access lists; see ``members``.

    ``scratch`` is the folder the appliance was launched with. When the block ends early, so does the reading in the
    appliance. Raises ``PipelineError`` when a file cannot be read whole, at the end of the block at the latest.
    """
    try:
        with (
            _stream(handle, scratch, attributes) as stream,
            tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK, errors="surrogateescape") as archive,
        ):
            yield archive
    except tarfile.TarError as error:
        raise PipelineError(f"the files of the image could not be read to their end: {error}") from None


def members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the archive's members one after the other, without keeping them."""
    for member in archive:
        yield member
        # In a stream, tarfile would keep every header it has read.
        archive.members = []  # type: ignore[attr-defined]


def save(handle: Any, scratch: Path, target: Path) -> None:
    """Write the archive of all that is mounted, without extended attributes, to a file. Raises as ``opened`` does."""
    with _stream(handle, scratch, False) as stream, target.open("wb") as file:
        shutil.copyfileobj(stream, file, _BLOCK)


@contextlib.contextmanager
def _stream(handle: Any, scratch: Path, attributes: bool) -> Iterator[IO[bytes]]:
    mark = secrets.token_hex(16)
    command = _START.format(
        name=_NAME,
        blocks=_RECORD // tarfile.BLOCKSIZE,
        attributes=" --xattrs --acls" if attributes else "",
        mark=mark,
        most=_MOST_SAID,
        record=_RECORD,
    )
    with _connected(scratch) as connection, connection.makefile("rb") as source:
        group = int(handle.debug("sh", [command]))
        try:
            with io.BufferedReader(_Records(source, mark.encode()), _BLOCK) as stream:
                yield stream
                while stream.read(_BLOCK):  # tar's padding, and whether it ended well
                    pass
        finally:
            # An appliance that has died has its own error, which this one must not hide.
            with contextlib.suppress(RuntimeError):
                handle.debug("sh", [_STOP.format(group=group)])


class _Records(io.RawIOBase):
    """What tar writes, up to the record that tells how it ended."""

    def __init__(self, source: IO[bytes], mark: bytes) -> None:
        self._source = source
        self._mark = mark
        self._record = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        """As every stream that is read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the start of ``buffer``; 0 at the end."""
        if not self._record and not self._ended:
            self._record = memoryview(self._next())
        size = min(len(buffer), len(self._record))
        buffer[:size] = self._record[:size]
        self._record = self._record[size:]
        return size

    def _next(self) -> bytes:
        record = self._source.read(_RECORD)
        if len(record) < _RECORD:
            raise PipelineError("the appliance ended while the files of the image were read")
        if not record.startswith(self._mark):
            return record
        self._ended = True
        head, *errors = record.rstrip(b"\0").decode(errors="replace").splitlines()
        status = head.split()[1]
        if status != "0":
            what = f"the files of the image could not be read whole: tar ended with status {status}"
            raise PipelineError(what, details=errors[-_SHOWN:])
        return b""


@contextlib.contextmanager
def _connected(scratch: Path) -> Iterator[socket.socket]:
    with _folder(scratch, "/proc/self") as folder, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{folder}/{_SOCKET}")
        yield connection


@contextlib.contextmanager
def _folder(path: Path, process: str) -> Iterator[str]:
    """Provide a short name for a folder: a socket's address has 108 bytes (unix(7))."""
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"{process}/fd/{descriptor}"
    finally:
        os.close(descriptor)
