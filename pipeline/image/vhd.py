"""Parse the trailer of a fixed VHD: raw data followed by one 512-byte footer (Microsoft's VHD specification, 2006)."""

from __future__ import annotations

import struct

FOOTER_BYTES = 512
_COOKIE = b"conectix"
_FIXED = 2


def fixed_size(tail: bytes, file_size: int) -> int | None:
    """Return the disk's bytes if ``tail``, the file's last bytes, hold the footer of a fixed VHD; else ``None``."""
    if len(tail) < FOOTER_BYTES or file_size < 2 * FOOTER_BYTES or not tail.startswith(_COOKIE):
        return None
    current_size, _geometry, kind, checksum = struct.unpack(">QIII", tail[48:68])
    # The checksum keeps a raw disk that merely contains the cookie in its last sector from being taken for a VHD.
    plain = tail[:64] + bytes(4) + tail[68:]
    if kind != _FIXED or checksum != ~sum(plain) & 0xFFFFFFFF:
        return None
    return int(current_size) if current_size <= file_size - FOOTER_BYTES else None
