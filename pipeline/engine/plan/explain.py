"""Explain why two images differ: what is different in them, and what was different in how they were made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.engine.cache.store import CacheStore, UnitOutcome, digest
from pipeline.engine.keys.key_diff import changes
from pipeline.host.guestfs.manifest import Manifest, ManifestEntry

_FORMATS = {"qcow2": "qcow2", "raw": "raw", "img": "raw", "vmdk": "vmdk", "vhdx": "vhdx", "vdi": "vdi", "vhd": "vpc"}


@dataclass(frozen=True)
class ComparedImage:
    """An image to compare: its file, its format as QEMU names it, and the digest of its bytes."""

    path: Path
    format: str
    sha256: str


@dataclass(frozen=True)
class ImageDifference:
    """What two images differ in. ``made`` are lines on how they were made, ``None`` when that isn't known of both."""

    same_bytes: bool
    made: tuple[str, ...] | None
    disk: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    only_times: int = 0

    @property
    def same_contents(self) -> bool:
        """Whether a guest would find the same files on the same disk."""
        return not (self.disk or self.added or self.removed or self.changed)


@dataclass
class _Origin:
    """The documents that led to a product, by unit."""

    documents: dict[str, Mapping[str, Any]] = field(default_factory=dict)


def find(home: Home, name: str) -> ComparedImage:
    """Return the image that ``name`` means: a file, or a recipe with products here. Raises ``PipelineError``."""
    path = Path(name)
    if not path.is_file():
        places = [home.artifacts / name / f"{name}.{suffix}" for suffix in sorted(_FORMATS)]
        files = [location for location in places if "/" not in name and location.is_file()]
        if not files:
            raise PipelineError(f"{name!r} is neither an image file nor a recipe that was built here")
        path = files[0]
    kind = _FORMATS.get(path.suffix[1:])
    if kind is None:
        raise PipelineError(
            f"{path}: unknown kind of image", hint=f"its name should end in one of {', '.join(_FORMATS)}"
        )
    return ComparedImage(path, kind, digest(path).sha256)


def made_from(store: CacheStore, one: ComparedImage, other: ComparedImage) -> tuple[str, ...] | None:
    """Return what was different in how two images were made; ``None`` when the cache doesn't know both."""
    outcomes = [outcome for file in store.outcomes.glob("*.json") if (outcome := store.peek(file.stem))]
    before, after = _origin(outcomes, one), _origin(outcomes, other)
    if not before.documents or not after.documents:
        return None
    lines = []
    for unit in ("install", "offline", "product"):
        old, new = before.documents.get(unit), after.documents.get(unit)
        if old is not None and new is not None:
            lines += [f"{unit}: {line}" for line in changes(old, new) if line != "what it stands on has changed"]
    return tuple(lines)


def contents(one: Manifest, other: Manifest, *, same_bytes: bool, made: tuple[str, ...] | None) -> ImageDifference:
    """Return the difference between what is in two images."""
    before = {node.path: node for node in one.nodes}
    after = {node.path: node for node in other.nodes}
    both = [path for path in before if path in after]
    return ImageDifference(
        same_bytes=same_bytes,
        made=made,
        disk=tuple(_facts(one.disk, other.disk)),
        added=tuple(sorted(set(after) - set(before))),
        removed=tuple(sorted(set(before) - set(after))),
        changed=tuple(line for path in sorted(both) for line in _changes(before[path], after[path])),
        only_times=sum(
            before[path].identity == after[path].identity and before[path].time != after[path].time for path in both
        ),
    )


def _origin(outcomes: Iterable[UnitOutcome], image: ComparedImage) -> _Origin:
    """Follows an image down: from the product to the disks below it."""
    found = _Origin()
    known = list(outcomes)
    product = next((each for each in known if image.sha256 in {blob.sha256 for blob in each.products.values()}), None)
    while product is not None:
        found.documents[product.unit] = product.document
        below = product.document.get("base", {}).get("disk")
        product = next((each for each in known if each.disk and below == each.disk.sha256), None)
    return found


def _facts(one: Mapping[str, str], other: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*one, *other}):
        if one.get(name) != other.get(name):
            yield f"{name}: {one.get(name, 'nothing')} → {other.get(name, 'nothing')}"


def _changes(before: ManifestEntry, after: ManifestEntry) -> Iterator[str]:
    if before.kind != after.kind:
        yield f"{before.path}: {before.kind} → {after.kind}"
        return
    if before.content != after.content:
        what = "other bytes" if before.kind == "file" else f"{before.content} → {after.content}"
        yield f"{before.path}: {what}"
    if before.mode != after.mode:
        yield f"{before.path}: mode {before.mode:04o} → {after.mode:04o}"
    if (before.owner, before.group) != (after.owner, after.group):
        yield f"{before.path}: owner {before.owner}:{before.group} → {after.owner}:{after.group}"
    if before.xattrs != after.xattrs:
        names = sorted({name for name, _ in {*before.xattrs} ^ {*after.xattrs}})
        yield f"{before.path}: attributes {', '.join(names)}"
