"""All hostile images of all formats, each by the name of its trick, and samples of them."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tests.unit.image import hostile, hostile_headers, hostile_vmdks


@dataclass(frozen=True)
class Hostile:
    """An image, and the disk format that it is said to have. ``kind``: what samples take some of each."""

    kind: str
    trick: str
    declared: str
    path: Path


def make(folder: Path) -> list[Hostile]:
    """Every trick as what it is and as ``raw``, each a file in ``folder``; sorted by format and trick."""
    ok = hostile.make_harmless(folder)
    made: dict[tuple[str, str], Hostile] = {}

    def add(trick: str, disk_format: str, data: bytes) -> None:
        path = folder / trick.replace("/", "-")
        path.write_bytes(data)
        for declared in (disk_format, "raw"):
            made[trick, declared] = Hostile(f"{trick.partition('/')[0]} as {declared}", trick, declared, path)

    for trick, (declared, path, reason) in hostile.make_hostile(folder, ok).items():
        if reason == "encrypted":
            continue  # which clouds may take that hold the keys
        made[trick, declared] = Hostile(f"made by qemu-img as {declared}", trick, declared, path)
    for trick, disk_format, data in hostile_headers.all_of_them(ok):
        add(trick, disk_format, data)
    for trick, data in hostile_vmdks.all_of_them():
        add(f"vmdk/{trick}", "vmdk", data)
    return [made[key] for key in sorted(made)]


def sample(corpus: list[Hostile], seed: str, each: int) -> list[Hostile]:
    """Up to ``each`` of every kind; other seeds give others."""
    kinds: dict[str, list[Hostile]] = defaultdict(list)
    for one in corpus:
        kinds[one.kind].append(one)
    chance = random.Random(seed)
    return [one for _, of_kind in sorted(kinds.items()) for one in chance.sample(of_kind, min(each, len(of_kind)))]
