"""Parse the descriptor of a VMDK: text that says what the disk consists of (VMware, "Virtual Disk Format 5.0").

Programs read this text in different ways: QEMU searches it for words wherever they stand, others take lines, some
ignore case. So every line has to be one that all of them understand alike; the list is closed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.image.refusal import FormatRefused, RefusalReason

MONOLITHIC_SPARSE, STREAM_OPTIMIZED = "monolithicSparse", "streamOptimized"
LONGEST = (1 << 20) - 1  # QEMU reads no more of it (block/vmdk.c, vmdk_read_desc)

# Each at most once, in exactly this spelling.
_KEYS = {
    "version": re.compile(r"[123]"),
    "CID": re.compile(r"[0-9a-fA-F]{1,8}"),
    "parentCID": re.compile(r"[fF]{8}"),
    "isNativeSnapshot": re.compile(r'"no"'),
    "createType": re.compile(rf'"(?:{MONOLITHIC_SPARSE}|{STREAM_OPTIMIZED})"'),
    "encoding": re.compile(r'"[A-Za-z0-9._-]{1,64}"'),
}
_REQUIRED = ("version", "CID", "parentCID", "createType")
_COMMENT = re.compile(r"#[A-Za-z0-9 ._-]*")
_KEY = re.compile(r"(\w+)=(.*)", re.ASCII)
_EXTENT = re.compile(r'(?:RW|RDONLY) ([0-9]{1,18}) SPARSE "([^"/\\]{1,511})"')
_DATABASE = re.compile(r'(ddb\.[A-Za-z0-9._-]+) ?= ?"([^"]*)"')
_NO_UUID = re.compile(r"[0\s{}-]*")

# A file that is nothing but a descriptor, however it is padded: QEMU takes any text with this in it, up to a NUL.
_PADDING = b"\0 \t\r\n\v\f\xef\xbb\xbf\xff\xfe"
_TEXT_MARK = re.compile(
    rb"createtype\s*=|disk\s+descriptorfile|^\s*(?:rw|rdonly|noaccess)\s+\d+\s+[a-z]{4,}(?:\s+\"|$)", re.I | re.M
)


@dataclass(frozen=True)
class Descriptor:
    """What a descriptor says: which kind of file it stands in, and the disk's size in sectors of 512 bytes."""

    kind: str
    sectors: int

    @classmethod
    def parse(cls, region: bytes) -> Descriptor:
        """Read the descriptor's region, its padding included. Raises ``FormatRefused`` for what is not understood."""
        text, end, padding = region.partition(b"\0")
        if not end:
            raise _refused("its descriptor does not end within its own sectors")
        if padding.strip(b"\0"):
            raise _refused("there is something behind the end of its descriptor")
        found, extents = _lines(_decoded(text))
        missing = [key for key in _REQUIRED if key not in found]
        if missing:
            raise _refused(f"its descriptor has no {' and no '.join(missing)}")
        if len(extents) != 1:
            raise _refused(f"its descriptor names {len(extents)} extents, where one file has one")
        return cls(found["createType"].strip('"'), extents[0])


def is_text_descriptor(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is a descriptor alone, which names other files as the disk's
    content.
    """
    text = head[:LONGEST].lstrip(_PADDING).partition(b"\0")[0]
    return _TEXT_MARK.search(text) is not None


def _decoded(text: bytes) -> str:
    for encoding in ("utf-8", "cp1252"):
        try:
            decoded = text.decode(encoding)
        except UnicodeDecodeError:
            continue
        if all(character.isprintable() or character in "\r\n" for character in decoded):
            return decoded
    raise _refused("its descriptor is not plain text")


def _lines(text: str) -> tuple[dict[str, str], list[int]]:
    # QEMU takes a parent from this word wherever it stands: in a comment, within another word, in a value.
    if "parentfilename" in text.lower():
        raise _refused("its descriptor names a parent", hint="flatten it where the parent is: qemu-img convert")
    found: dict[str, str] = {}
    extents: list[int] = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.removesuffix("\r").rstrip(" ")
        if not line or _COMMENT.fullmatch(line):
            continue
        if extent := _EXTENT.fullmatch(line):
            extents.append(int(extent[1]))
        elif entry := _DATABASE.fullmatch(line):
            if "parent" in entry[1].lower() and not _NO_UUID.fullmatch(entry[2]):
                raise _refused(f"line {number} of its descriptor names a parent: {_shown(line)}")
        elif (pair := _KEY.fullmatch(line)) and (shape := _KEYS.get(pair[1])) and shape.fullmatch(pair[2]):
            if pair[1] in found:
                raise _refused(f"line {number} of its descriptor says {pair[1]} a second time")
            found[pair[1]] = pair[2]
        else:
            raise _refused(f"line {number} of its descriptor is not one that a disk in one file has: {_shown(line)}")
    return found, extents


def _shown(line: str) -> str:
    return repr(line if len(line) <= 80 else f"{line[:77]}...")


def _refused(why: str, hint: str | None = None) -> FormatRefused:
    return FormatRefused(
        RefusalReason.UNSAFE,
        f"the vmdk image is not taken: {why}",
        detected="vmdk",
        hint=hint or "convert it where its files are: qemu-img convert -O vmdk -o subformat=streamOptimized",
    )
