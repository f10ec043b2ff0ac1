"""Read the one member of a zip file from beginning to end, without a directory (APPNOTE.TXT of PKWARE)."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

_LOCAL = struct.Struct("<4s5H3I2H")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _DESCRIPTOR_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x07\x08"
_ENCRYPTED, _DESCRIPTOR_FOLLOWS = 0x01, 0x08
_STORED, _DEFLATED = 0, 8
_ZIP64 = 0xFFFFFFFF
_LONGEST_TAIL = 1 << 20


# Methods that other programs use (APPNOTE.TXT, 4.4.5), by the names people know them by.
_METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "zstd", 95: "xz", 98: "PPMd"}


class ArchiveNotTaken(ValueError):
    """A sound archive of a kind that is not taken; the text says which, and how to pack it instead."""


class ZipMember(io.RawIOBase):
    """The content of a zip file with exactly one member, stored or deflated. Its name is ignored.

    Raises ``ArchiveNotTaken`` for other sound zip files, ``ValueError`` when it is damaged.
    """

    def __init__(self, file: io.RawIOBase) -> None:
        super().__init__()
        self._file = io.BufferedReader(file, 256 << 10)
        self._header = b""
        self._decoder: Any = None
        self._left = 0
        self._sum = 0
        self._checked = False

    def readinto(self, view: Any) -> int:
        """Read as a file does."""
        if not self._header:
            self._begin()
        view = memoryview(view).cast("B")
        data = self._inflate(len(view)) if self._decoder is not None else self._copy(len(view))
        self._sum = zlib.crc32(data, self._sum)
        view[: len(data)] = data
        if not data and not self._checked:
            self._end()
        return len(data)

    def _begin(self) -> None:
        self._header = self._exactly(_LOCAL.size)
        magic, _, flags, method, _, _, self._crc, packed, _, name, extra = _LOCAL.unpack(self._header)
        if magic != _LOCAL_MAGIC:
            raise ValueError("not a zip file")
        if flags & _ENCRYPTED:
            raise ArchiveNotTaken("The zip file is encrypted; pack the image without a password")
        if method not in (_STORED, _DEFLATED):
            named = _METHODS.get(method, f"method {method}")
            raise ArchiveNotTaken(f"The zip file is packed by {named}; only the usual deflate is taken")
        self._described = bool(flags & _DESCRIPTOR_FOLLOWS)
        self._exactly(name)
        fields = self._exactly(extra)
        if method == _DEFLATED:
            self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)
        elif self._described:
            raise ArchiveNotTaken("The zip file's member is stored without its length before it; pack it by deflate")
        else:
            self._left = packed if packed != _ZIP64 else _long_size(fields)

    def _inflate(self, size: int) -> bytes:
        while not self._decoder.eof:
            data = self._decoder.unconsumed_tail or self._file.read1(64 << 10)
            if not data:
                raise EOFError("the zip file ends within its member")
            made: bytes = self._decoder.decompress(data, size)
            if made:
                return made
        return b""

    def _copy(self, size: int) -> bytes:
        data = self._file.read(min(size, self._left))
        if not data and self._left:
            raise EOFError("the zip file ends within its member")
        self._left -= len(data)
        return data

    def _end(self) -> None:
        """Behind the member: perhaps a descriptor, then the directory, and no second member."""
        self._checked = True
        tail = (self._decoder.unused_data if self._decoder is not None else b"") + self._file.read(_LONGEST_TAIL)
        expected = self._crc
        if self._described:
            begin = 4 if tail.startswith(_DESCRIPTOR_MAGIC) else 0
            (expected,) = struct.unpack_from("<I", tail, begin)
            lengths = [begin + 12, begin + 20]  # with lengths of four bytes, or of eight
        else:
            lengths = [0]
        if any(tail[length : length + 4] == _LOCAL_MAGIC for length in lengths):
            raise ArchiveNotTaken("The zip file has more than one member; the image has to be alone in it")
        if not any(tail[length : length + 4] == _CENTRAL_MAGIC for length in lengths):
            raise ValueError("a zip file without its directory")
        if self._sum != expected:
            raise ValueError("the member's checksum is wrong")

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise EOFError("the zip file ends within a header")
        return data


def _long_size(fields: bytes) -> int:
    """Return the packed length in the extra field for long files."""
    while len(fields) >= 4:
        kind, length = struct.unpack_from("<2H", fields)
        if kind == 1 and length >= 16:
            return int(struct.unpack_from("<2Q", fields, 4)[1])
        fields = fields[4 + length :]
    raise ValueError("a long member without its length")
