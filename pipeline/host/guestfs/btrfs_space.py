"""Compute which bytes of a device its btrfs does not use, from what ``btrfs inspect-internal`` prints.

Logical addresses of the extent tree lie in chunks, and each stripe of a chunk is a place on the device (btrfs on-disk
format, "Chunk tree"). In the profiles ``single`` and ``DUP`` each stripe holds the whole chunk; others need several
devices.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.base.errors import PipelineError

# The first megabyte is not btrfs's (boot loaders lie there), and three places hold a superblock.
_RESERVED = 1 << 20
_SUPERBLOCKS = (64 << 10, 64 << 20, 256 << 30)
_SUPERBLOCK = 4096
# BTRFS_FEATURE_INCOMPAT_* that leave these addresses what they are; not RAID56, RAID1C34, ZONED, EXTENT_TREE_V2,
# RAID_STRIPE_TREE.
_KNOWN = 0x1077F
_FIELD = re.compile(r"(?m)^(\w+)\s+(0x[0-9a-f]+|\d+)\b")
_EXTENT = re.compile(r"key \((\d+) (EXTENT_ITEM|METADATA_ITEM) (\d+)\)")
_CHUNK = re.compile(r"key \(\S+ CHUNK_ITEM (\d+)\)[^\n]*\n\s+length (\d+) [^\n]* type (\S+)")
_STRIPE = re.compile(r"stripe \d+ devid (\d+) offset (\d+)")
_HINT = "set sysprep.scrub: false, or make the image on another file system"


@dataclass(frozen=True)
class _Chunk:
    start: int
    length: int
    places: tuple[int, ...]


def free(superblock: str, chunks: str, extents: str, size: int) -> list[tuple[int, int]]:
    """Return the first byte and the length of every piece of a device of ``size`` bytes that is not in use.

    The three texts are those of ``dump-super``, ``dump-tree -t chunk`` and ``dump-tree -t extent`` (its keys are
    enough). Raises ``PipelineError`` for file systems on several devices, and where the texts do not agree.
    """
    fields = {name: int(value, 0) for name, value in _FIELD.findall(superblock)}
    if fields.get("num_devices") != 1:
        raise PipelineError(f"a btrfs on {fields.get('num_devices', 'no')} devices cannot be scrubbed", hint=_HINT)
    if unknown := fields.get("incompat_flags", ~0) & ~_KNOWN:
        raise PipelineError(f"this btrfs has features that are not known here ({unknown:#x})", hint=_HINT)
    if fields.get("log_root") != 0:
        raise PipelineError("this btrfs was not unmounted cleanly", hint="run the build again")
    found = _chunks(chunks)
    used = list(_used(extents, fields["nodesize"]))
    if sum(length for _, length in used) != fields["bytes_used"]:
        raise PipelineError("the extents of this btrfs are not what its superblock counts", hint="btrfs check tells")
    taken = [(0, _RESERVED), *((at, _SUPERBLOCK) for at in _SUPERBLOCKS)]
    return list(_gaps([*taken, *_placed(used, found)], size))


def _used(extents: str, node: int) -> Iterator[tuple[int, int]]:
    for start, kind, number in _EXTENT.findall(extents):
        yield int(start), node if kind == "METADATA_ITEM" else int(number)


def _chunks(text: str) -> list[_Chunk]:
    items = text.split("\n\titem ")[1:]
    found = []
    for item in items:
        head = _CHUNK.search(item)
        if head is None:
            continue
        profile = head[3].partition("|")[2]
        if not all(part in ("single", "DUP", "DATA", "METADATA") for part in profile.split("|")):
            raise PipelineError(f"a btrfs of the profile {profile} cannot be scrubbed", hint=_HINT)
        places = tuple(int(place) for _, place in _STRIPE.findall(item))
        found.append(_Chunk(int(head[1]), int(head[2]), places))
    return sorted(found, key=lambda chunk: chunk.start)


def _placed(used: Iterable[tuple[int, int]], chunks: Sequence[_Chunk]) -> Iterator[tuple[int, int]]:
    remaining = iter(chunks)
    chunk = next(remaining, None)
    for start, length in sorted(used):
        while chunk is not None and start >= chunk.start + chunk.length:
            chunk = next(remaining, None)
        if chunk is None or start < chunk.start or start + length > chunk.start + chunk.length or not chunk.places:
            raise PipelineError("an extent of this btrfs lies in none of its chunks", hint="btrfs check tells")
        for place in chunk.places:
            yield place + start - chunk.start, length


def _gaps(taken: Iterable[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    end = 0
    for start, length in sorted(taken):
        if min(start, size) > end:
            yield end, min(start, size) - end
        end = max(end, start + length)
    if size > end:
        yield end, size - end
