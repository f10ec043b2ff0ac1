"""Refuse VHD, VHDX and VDI images that hold only the differences to another file (and kinds nobody knows)."""

from __future__ import annotations

import struct
import uuid

from pipeline.image.crc32c import crc32c
from pipeline.image.refusal import FormatRefused, RefusalReason

_VHD_COOKIE, _VHD_DYNAMIC, _VHD_HEADER_COOKIE = b"conectix", 3, b"cxsparse"
# In the header of a dynamic disk.
_VHD_PARENT_UUID, _VHD_PARENT_NAME, _VHD_PARENT_LOCATORS = slice(40, 56), slice(64, 576), slice(576, 768)
_VDI_KINDS = (1, 2)  # dynamic and fixed; the others are undo and differencing disks
_VDI_LINKS = slice(0x1A8, 0x1C8)  # the UUIDs of the disk's parent, and of its state when this was made

_VHDX_HEADERS, _VHDX_HEADER_BYTES = (64 << 10, 128 << 10), 4096
_VHDX_REGIONS = (192 << 10, 256 << 10)
_VHDX_METADATA = uuid.UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E")
_VHDX_PARAMETERS = uuid.UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B")
_VHDX_PARENT_LOCATOR = uuid.UUID("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C")
_VHDX_HAS_PARENT = 1 << 1
VHDX_METADATA_BYTES = 128 << 10  # the table's 64 KiB, and the items as all writers lay them


def refuse_vhd(head: bytes, tail: bytes) -> None:
    """Judge a VHD with a header by its first sectors and its trailer. Raises ``FormatRefused``."""
    for footer in (head[:512], tail[-512:]):
        if footer.startswith(_VHD_COOKIE) and (kind := _big(footer, 60)) != _VHD_DYNAMIC:
            raise _refused("vhd", f"its kind is {kind}; {_VHD_DYNAMIC} is a dynamic disk")
    at = struct.unpack_from(">Q", head, 16)[0] if len(head) >= 24 else 0
    header = head[at : at + 1024]
    if not header.startswith(_VHD_HEADER_COOKIE) or len(header) < 1024:
        raise FormatRefused(RefusalReason.DAMAGED, "the vhd image has no header of a dynamic disk", detected="vhd")
    if any(any(header[part]) for part in (_VHD_PARENT_UUID, _VHD_PARENT_NAME, _VHD_PARENT_LOCATORS)):
        raise _refused("vhd", "it names a parent")


def refuse_vdi(head: bytes) -> None:
    """Judge a VDI by its header. Raises ``FormatRefused``."""
    if len(head) < 512:
        raise FormatRefused(RefusalReason.TRUNCATED, "the vdi image ends within its header", detected="vdi")
    (kind,) = struct.unpack_from("<I", head, 0x4C)
    if kind not in _VDI_KINDS:
        raise _refused("vdi", f"its kind is {kind}; 1 is a dynamic disk, 2 a fixed one")
    if any(head[_VDI_LINKS]):
        raise _refused("vdi", "it names a parent")


def refuse_vhdx_changes(head: bytes) -> None:
    """Refuse a VHDX whose log holds changes: they may be anything, a parent too, and the next writer applies them.

    The newer of the two headers counts, and its sum has to be right (MS-VHDX 2.2.2). Raises ``FormatRefused``.
    """
    sound = []
    for at in _VHDX_HEADERS:
        header = head[at : at + _VHDX_HEADER_BYTES]
        if header.startswith(b"head") and len(header) == _VHDX_HEADER_BYTES:
            (checksum,) = struct.unpack_from("<I", header, 4)
            if crc32c(header[:4] + bytes(4) + header[8:]) == checksum:
                sound.append((struct.unpack_from("<Q", header, 8)[0], header))
    if not sound:
        raise FormatRefused(RefusalReason.DAMAGED, "none of the vhdx image's two headers is sound", detected="vhdx")
    header = max(sound)[1]
    if any(header[48:64]):
        raise FormatRefused(
            RefusalReason.UNSAFE,
            "the vhdx image was not closed: its log holds changes that nobody has seen",
            detected="vhdx",
            hint="open and close it once where it was made, or convert it there: qemu-img convert",
        )
    log_version, version = struct.unpack_from("<HH", header, 64)
    if (log_version, version) != (0, 1):
        raise _refused("vhdx", f"it is of version {version}, its log of {log_version}; 1 and 0 are known")


def vhdx_metadata_offset(head: bytes) -> int:
    """Return where the metadata begin, in bytes, by the first region table of a VHDX. Raises ``FormatRefused``.

    The second table is the same by the format's rules (MS-VHDX 2.2.3); another one is refused.
    """
    found = {_metadata_region(head[at : at + (64 << 10)]) for at in _VHDX_REGIONS}
    if len(found) != 1:
        raise FormatRefused(RefusalReason.DAMAGED, "the two region tables of the vhdx image differ", detected="vhdx")
    return found.pop()


def refuse_vhdx(metadata: bytes) -> None:
    """Judge a VHDX by the beginning of its metadata. Raises ``FormatRefused``."""
    signature, count = struct.unpack_from("<8s2xH", metadata) if len(metadata) >= 32 else (b"", 0)
    if signature != b"metadata" or count > 2047 or len(metadata) < 32 * (count + 1):
        raise FormatRefused(RefusalReason.DAMAGED, "the vhdx image has no table of its metadata", detected="vhdx")
    parameters = None
    for number in range(1, count + 1):
        name, offset, length = struct.unpack_from("<16sII", metadata, 32 * number)
        item = uuid.UUID(bytes_le=name)
        if item == _VHDX_PARENT_LOCATOR:
            raise _refused("vhdx", "it names a parent")
        if item == _VHDX_PARAMETERS:
            parameters = metadata[offset : offset + length]
    if parameters is None or len(parameters) != 8:
        raise FormatRefused(RefusalReason.DAMAGED, "the vhdx image does not tell its parameters", detected="vhdx")
    if struct.unpack("<II", parameters)[1] & _VHDX_HAS_PARENT:
        raise _refused("vhdx", "it has a parent")


def _metadata_region(table: bytes) -> int:
    signature, count = struct.unpack_from("<4s4xI", table) if len(table) >= 16 else (b"", 0)
    if signature != b"regi" or count > 2047 or len(table) < 16 + 32 * count:
        raise FormatRefused(RefusalReason.TRUNCATED, "the vhdx image has no table of its regions", detected="vhdx")
    for number in range(count):
        name, offset = struct.unpack_from("<16sQ", table, 16 + 32 * number)
        if uuid.UUID(bytes_le=name) == _VHDX_METADATA:
            if offset < 1 << 20:
                raise FormatRefused(
                    RefusalReason.DAMAGED, "the vhdx image's metadata lie in its header", detected="vhdx"
                )
            return int(offset)
    raise FormatRefused(RefusalReason.DAMAGED, "the vhdx image has no metadata", detected="vhdx")


def _big(data: bytes, at: int) -> int:
    return int(struct.unpack_from(">I", data, at)[0]) if len(data) >= at + 4 else 0


def _refused(name: str, why: str) -> FormatRefused:
    return FormatRefused(
        RefusalReason.UNSAFE,
        f"the {name} image is not taken: {why}",
        detected=name,
        hint="merge it into one file where its parent is: qemu-img convert",
    )
