"""Read a disk image of any format as raw data, without writing that data anywhere.

``qemu-nbd`` opens the image in a sandbox, read-only and in the one format it was inspected to have, and serves it on a
socket; this is the other end of that socket (the NBD protocol, doc/proto.md of NetworkBlockDevice/nbd). Holes are asked
for, so that they need not be read.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from pipeline.host.system import process, sandbox
from pipeline.image.convert import graph
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.buffers import BLOCK
from pipeline.imageservice.errors import UnsupportedContent

_CONNECTIONS = 3  # of one reader: QEMU reads ahead on the others while one is being received from
_READERS = 16
_START_SECONDS = 30
_IDLE_SECONDS = 120

_OPTION = struct.Struct(">8sII")
_OPTION_REPLY = struct.Struct(">QIII")
_REQUEST = struct.Struct(">IHHQQI")
_CHUNK = struct.Struct(">IHHQI")
_REPLY_MAGIC, _REQUEST_MAGIC, _CHUNK_MAGIC = 0x3E889045565A9, 0x25609513, 0x668E33EF
_GO, _STRUCTURED, _META = 7, 8, 10
_ACK, _INFO = 1, 3
_READ, _DISCONNECT, _BLOCK_STATUS = 0, 2, 7
_NONE, _DATA, _HOLE, _STATUS = 0, 1, 2, 5
_IS_ZERO = 2
_DONE = 1
_LONGEST_QUERY = 1 << 30
_LONGEST_ANSWER = 1 << 16


@contextlib.contextmanager
def served(image: int, disk_format: str, *, seconds: int) -> Iterator[Path]:
    """Have ``qemu-nbd`` serve an inspected image, a descriptor, while the block runs; yields its socket.

    ``seconds`` bounds its processor time. Raises ``UnsupportedContent`` when QEMU does not open the image.
    """
    # A short path: the address of a socket has 107 bytes at the most.
    with tempfile.TemporaryDirectory(prefix="nbd-") as name, tempfile.TemporaryFile() as output:
        folder = Path(name)
        words = [
            "qemu-nbd",
            "--read-only",
            "--persistent",
            f"--shared={_READERS * _CONNECTIONS}",
            f"--socket={sandbox.INSIDE_OUT}/socket",
            graph(disk_format, "/in"),
        ]
        bounds = sandbox.SandboxLimits(memory=4 << 30, seconds=seconds, files=128)
        with (
            sandbox.confined(words, readable={"/in": image}, out=folder, bounds=bounds) as (command, descriptors),
            process.started(command, log=output, pass_fds=descriptors) as child,
        ):
            until = time.monotonic() + _START_SECONDS
            while not _answers(folder / "socket"):
                if child.poll() is not None or time.monotonic() > until:
                    raise UnsupportedContent(f"The {disk_format} image cannot be opened")
                time.sleep(0.005)
            yield folder / "socket"


def _answers(path: Path) -> bool:
    try:
        _Connection(path).close()
    except UnsupportedContent:
        return False
    return True


class NbdSource:
    """The raw data behind a socket of ``served``, from ``offset`` on, as a source for a transfer."""

    def __init__(self, path: Path, *, offset: int = 0) -> None:
        self._connections = [_Connection(path) for _ in range(_CONNECTIONS)]
        self._length = self._connections[0].length
        self.size: int | None = self._length - offset
        self._offset = self._asked_to = offset
        self._extents: deque[tuple[int, bool]] = deque()  # (end, whether it is zeros), from _offset on
        self._idle = deque(self._connections)
        self._busy: deque[tuple[_Connection, int]] = deque()  # and the length that was asked for

    @property
    def ended(self) -> bool:
        """See ``Source.ended``."""
        return self._offset >= self._length

    def hole(self, limit: int) -> int:
        """See ``Sparse.hole``."""
        if self.ended:
            return 0
        end, zeros = self._extent()
        if not zeros:
            return 0
        count = min(end - self._offset, limit)
        self._move(count)
        return count

    def readinto(self, view: memoryview, cancel_token: CancelToken) -> int:
        """See ``Source.readinto``; ``view`` has room for a block."""
        if self.ended:
            return 0
        self._ask_ahead()
        connection, length = self._busy.popleft()
        connection.receive(view[:length])
        self._idle.append(connection)
        self._move(length)
        return length

    def close(self) -> None:
        """End the connections."""
        for connection in self._connections:
            connection.close()

    def _extent(self) -> tuple[int, bool]:
        """Return how many bytes at this offset are alike, and whether they are zeros; all there are up to an end."""
        if not self._extents:
            end = self._offset
            asked = min(_LONGEST_QUERY, self._length - end)
            # No reads are under way here: they never go beyond the known extents.
            for length, zeros in self._connections[0].status(end, asked):
                end = min(end + length, self._length)
                self._extents.append((end, zeros))
        return self._extents[0]

    def _ask_ahead(self) -> None:
        end, _ = self._extent()
        self._asked_to = max(self._asked_to, self._offset)
        while self._idle and self._asked_to < end:
            length = min(BLOCK, end - self._asked_to)
            connection = self._idle.popleft()
            connection.ask(self._asked_to, length)
            self._busy.append((connection, length))
            self._asked_to += length

    def _move(self, count: int) -> None:
        self._offset += count
        while self._extents and self._extents[0][0] <= self._offset:
            self._extents.popleft()


class _Connection:
    """One connection, with one request under way at a time. Raises ``UnsupportedContent`` when QEMU gives up."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_IDLE_SECONDS)
        self._handle = 0
        self._asked = 0
        try:
            self._socket.connect(str(path))
            self.length = self._negotiate()
        except (OSError, struct.error) as error:
            self._socket.close()
            raise _given_up() from error

    def ask(self, offset: int, length: int) -> None:
        """Ask for data."""
        self._asked = offset
        self._request(_READ, offset, length)

    def receive(self, into: memoryview) -> None:
        """Receive the data that was asked for last; ``into`` has its length."""
        try:
            for kind, size in self._chunks():
                if kind == _DATA:
                    (begin,) = struct.unpack(">Q", self._exactly(8))
                    self._fill(into[begin - self._asked :][: size - 8])
                elif kind == _HOLE:
                    begin, count = struct.unpack(">QI", self._exactly(12))
                    into[begin - self._asked :][:count] = bytes(count)
                elif kind != _NONE:
                    raise _given_up()
        except (OSError, struct.error, ValueError) as error:
            raise _given_up() from error

    def status(self, offset: int, length: int) -> list[tuple[int, bool]]:
        """Return the extents from ``offset`` on: length, and whether zeros. They may end before ``length`` bytes."""
        try:
            self._request(_BLOCK_STATUS, offset, length)
            found: list[tuple[int, bool]] = []
            for kind, size in self._chunks():
                if kind not in (_STATUS, _NONE) or size > _LONGEST_ANSWER * 8:
                    raise _given_up()
                data = self._exactly(size)[4:]
                found += [(extent, bool(flags & _IS_ZERO)) for extent, flags in struct.iter_unpack(">II", data)]
            if not found or not all(extent for extent, _ in found):
                raise _given_up()
            return found
        except (OSError, struct.error) as error:
            raise _given_up() from error

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError):
            self._socket.sendall(_REQUEST.pack(_REQUEST_MAGIC, 0, _DISCONNECT, 0, 0, 0))
        self._socket.close()

    def _negotiate(self) -> int:
        """Do the fixed newstyle handshake; return the length of the export in bytes."""
        if self._exactly(16) != b"NBDMAGICIHAVEOPT":
            raise OSError("not an NBD server")
        self._exactly(2)
        self._socket.sendall(struct.pack(">I", 3))
        self._option(_STRUCTURED, b"")
        context = b"base:allocation"
        self._option(_META, struct.pack(">III", 0, 1, len(context)) + context)
        for kind, data in self._option(_GO, struct.pack(">IH", 0, 0)):
            if kind == _INFO and data[:2] == b"\0\0":
                return int(struct.unpack(">Q", data[2:10])[0])
        raise OSError("the server does not tell the length")

    def _option(self, option: int, data: bytes) -> list[tuple[int, bytes]]:
        self._socket.sendall(_OPTION.pack(b"IHAVEOPT", option, len(data)) + data)
        replies: list[tuple[int, bytes]] = []
        while not replies or replies[-1][0] != _ACK:
            magic, _, kind, length = _OPTION_REPLY.unpack(self._exactly(_OPTION_REPLY.size))
            if magic != _REPLY_MAGIC or kind & 1 << 31 or length > _LONGEST_ANSWER:
                raise OSError("the server refuses an option")
            replies.append((kind, self._exactly(length)))
        return replies

    def _request(self, kind: int, offset: int, length: int) -> None:
        self._handle += 1
        try:
            self._socket.sendall(_REQUEST.pack(_REQUEST_MAGIC, 0, kind, self._handle, offset, length))
        except OSError as error:
            raise _given_up() from error

    def _chunks(self) -> Iterator[tuple[int, int]]:
        """Yield the parts of an answer: kind, and length of what follows; the caller takes it off the connection."""
        flags = 0
        while not flags & _DONE:
            magic, flags, kind, handle, size = _CHUNK.unpack(self._exactly(_CHUNK.size))
            if magic != _CHUNK_MAGIC or handle != self._handle:
                raise _given_up()
            yield kind, size

    def _exactly(self, count: int) -> bytes:
        data = bytearray(count)
        self._fill(memoryview(data))
        return bytes(data)

    def _fill(self, view: memoryview) -> None:
        while view:
            count = self._socket.recv_into(view)
            if not count:
                raise ConnectionResetError("the server has ended")
            view = view[count:]


def _given_up() -> UnsupportedContent:
    return UnsupportedContent("The image cannot be read as a disk: it is damaged, or QEMU has given up on it")
