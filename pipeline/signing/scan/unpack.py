"""Unpack data while it is scanned: gzip, xz, zstd and what an initramfs puts one behind the other, a few layers deep.

The data come from the image: a decompressor is given a limit for what may come out of it, and errors end the layer, not
the scan.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterator

import zstandard

MAX_DEPTH = 3
# What may come out of one packed file; a bomb ends here and is told.
MAX_OUT = 8 << 30
_PIECE = 1 << 20
_PROBE = 6
_CPIO = b"070701"
_TRAILER = b"TRAILER!!!\0"


class Layer:
    """A packed stream within another. Feed it the bytes; it gives plain pieces."""

    def __init__(self, name: str, make: Callable[[], Callable[[bytes], Iterator[bytes]]]) -> None:
        self.name = name
        self._unpack = make()
        self.broken = False
        self.overflow = False
        self._out = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield plain pieces of what ``data`` adds."""
        if self.broken or self.overflow:
            return
        try:
            for piece in self._unpack(data):
                self._out += len(piece)
                if self._out > MAX_OUT:
                    self.overflow = True
                    return
                yield piece
        except (zlib.error, lzma.LZMAError, zstandard.ZstdError, EOFError, ValueError, MemoryError):
            self.broken = True


def recognise(head: bytes) -> Layer | None:
    """Return the layer that a stream beginning with ``head`` is packed in, if it is."""
    if head.startswith(b"\x1f\x8b\x08"):
        return Layer("gzip", _gzip)
    if head.startswith(b"\xfd7zXZ\0"):
        return Layer("xz", _xz)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return Layer("zstd", _zstd)
    if head.startswith(_CPIO):
        return Layer("cpio", _behind_cpio)
    return None


def _gzip() -> Callable[[bytes], Iterator[bytes]]:
    state = zlib.decompressobj(wbits=31)

    def unpack(data: bytes) -> Iterator[bytes]:
        nonlocal state
        while data:
            piece = state.decompress(data, _PIECE)
            if piece:
                yield piece
            data = state.unconsumed_tail
            if state.eof:  # members may follow each other; anything else is padding
                data = state.unused_data.lstrip(b"\0")
                if not data.startswith(b"\x1f\x8b"):
                    return
                state = zlib.decompressobj(wbits=31)

    return unpack


def _xz() -> Callable[[bytes], Iterator[bytes]]:
    state = lzma.LZMADecompressor(memlimit=256 << 20)

    def unpack(data: bytes) -> Iterator[bytes]:
        while not state.eof and (data or not state.needs_input):
            piece = state.decompress(data, _PIECE)
            data = b""
            if piece:
                yield piece
            elif state.needs_input:
                return

    return unpack


def _zstd() -> Callable[[bytes], Iterator[bytes]]:
    # Windows above 128 MiB would have to be asked for by whoever packed; nothing in images does.
    state = zstandard.ZstdDecompressor(max_window_size=128 << 20).decompressobj()

    def unpack(data: bytes) -> Iterator[bytes]:
        # In small steps, since each may grow by a factor of thousands.
        for at in range(0, len(data), 4096):
            if state.eof:
                return
            piece = state.decompress(data[at : at + 4096])
            if piece:
                yield piece

    return unpack


def _behind_cpio() -> Callable[[bytes], Iterator[bytes]]:
    """Yield an initramfs: an archive of microcode, plain, and behind its trailer and zeros the packed one."""
    kept = b""
    begun = False

    def unpack(data: bytes) -> Iterator[bytes]:
        nonlocal kept, begun
        if begun:
            yield data
            return
        kept += data
        at = kept.find(_TRAILER)
        if at == -1:
            kept = kept[-len(_TRAILER) :]
            return
        behind = kept[at + len(_TRAILER) :].lstrip(b"\0")
        kept = kept[at:] if len(behind) < _PROBE else b""
        if not kept:
            begun = True
            yield behind

    return unpack
