"""Store artifacts: what stages left, by content; what led to it, by key.

::

    FORMAT                       the layout's version
    layers/<sha256>/disk.qcow2   frozen disks, 0400; the folder is 0700, since an installed disk may hold secrets.
                                 A backing file is named ../<sha256>/disk.qcow2, so that the store can be moved.
    products/<sha256>/image.*    finished files, 0444
    documents/<sha256>           small files that records left, 0444
    outcomes/<key>.json          what a unit of work with this content key left; written last
    work/, layers/.partial.*     what is being made, named for its owner
    locks/, leases/              who makes what; who uses the store

An outcome is the commit: everything it names was on disk before. So whatever a killed process leaves is either
complete or unnamed. Two processes that make the same thing are kept apart by a lock for each key; should the same
content come twice, the first one stays.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.base import atomic, json_text, locks
from pipeline.base.errors import PipelineError
from pipeline.base.owner import Owner
from pipeline.image.digests import digest_file

FORMAT = "1"
DISK = "disk.qcow2"
_serial = itertools.count()


@dataclass(frozen=True)
class Blob:
    """Bytes in the store: their SHA-256 in hex and their length."""

    sha256: str
    size: int


@dataclass(frozen=True)
class UnitOutcome:
    """What a unit of work left, and everything that led to it (``document``, see ``keys``).

    ``facts`` and ``seconds`` are by step; ``products`` and ``documents`` by format and by file name. ``disk`` is set
    by stages that freeze one. ``made`` is an ISO 8601 time.
    """

    key: str
    recipe: str
    unit: str
    document: Mapping[str, Any]
    facts: Mapping[str, Mapping[str, Any]]
    seconds: Mapping[str, float]
    run: str
    made: str
    accelerator: str
    disk: Blob | None = None
    products: Mapping[str, Blob] = field(default_factory=dict)
    documents: Mapping[str, Blob] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str) -> UnitOutcome:
        """Read what ``to_json`` wrote. Raises ``ValueError`` (or its kin) when it is something else."""
        data = json_text.loads(text)
        blobs = {name: {key: Blob(**blob) for key, blob in data[name].items()} for name in ("products", "documents")}
        disk = Blob(**data["disk"]) if data["disk"] else None
        return cls(**{**data, **blobs, "disk": disk})

    def to_json(self) -> str:
        """Return it as text that is good to read, too."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


class CacheStore:
    """The store in one folder, which several processes and checkouts may share."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layers = root / "layers"
        self.products = root / "products"
        self.documents = root / "documents"
        self.outcomes = root / "outcomes"
        self.work = root / "work"
        self.leases = root / "leases"

    @classmethod
    def open(cls, root: Path) -> CacheStore:
        """Return the store at ``root``, made if it isn't there. Raises ``PipelineError`` when it has another format."""
        store = cls(root)
        marker = root / "FORMAT"
        if not marker.exists():
            root.mkdir(parents=True, exist_ok=True)
            store.layers.mkdir(mode=0o700, exist_ok=True)
            for folder in (store.products, store.documents, store.outcomes, store.work, store.leases):
                folder.mkdir(exist_ok=True)
            atomic.write_text(marker, f"{FORMAT}\n")
        found = marker.read_text().strip()
        if found != FORMAT:
            raise PipelineError(
                f"the cache {root} has format {found[:20]!r}, this version uses {FORMAT!r}",
                hint="set PIPELINE_CACHE to another folder, or remove that one",
            )
        return store

    def disk(self, sha256: str) -> Path:
        """Return where the frozen disk with this digest lies."""
        return self.layers / sha256 / DISK

    def product(self, format_: str, sha256: str) -> Path:
        """Return where the product with this digest lies."""
        return self.products / sha256 / f"image.{format_}"

    def lock(self, key: str, purpose: str) -> locks.Lock | None:
        """Return the right to make the outcome ``key``, or ``None`` when another process has it."""
        return locks.attempt(self._lock_file(key), purpose)

    def maker(self, key: str) -> str:
        """Return who makes the outcome ``key`` now, in words."""
        return locks.holder(self._lock_file(key))

    def find(self, key: str) -> UnitOutcome | None:
        """Return the outcome ``key``, if it and everything it names is there. Marks it as used now."""
        file = self._outcome_file(key)
        with self.mutex():
            try:
                outcome = UnitOutcome.from_json(file.read_text())
            except FileNotFoundError:
                return None
            except (ValueError, TypeError, KeyError):
                # Written by nobody we know; what it named is made again.
                file.unlink(missing_ok=True)
                return None
            if not all(path.is_file() for path in self.files(outcome)):
                return None
            with contextlib.suppress(PermissionError):
                os.utime(file)
            return outcome

    def peek(self, key: str) -> UnitOutcome | None:
        """Find as ``find`` does, without the mark."""
        try:
            return UnitOutcome.from_json(self._outcome_file(key).read_text())
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def files(self, outcome: UnitOutcome) -> list[Path]:
        """Return all files that an outcome names."""
        disks = [self.disk(outcome.disk.sha256)] if outcome.disk else []
        products = [self.product(name, blob.sha256) for name, blob in outcome.products.items()]
        return [*disks, *products, *(self.documents / blob.sha256 for blob in outcome.documents.values())]

    def keep_disk(self, made: Path, base: str | None) -> Blob:
        """Freeze the disk in the working folder ``made``. Its bytes are never written again."""
        file = made / DISK
        file.chmod(0o400)
        blob = digest(file)
        atomic.write_text(made / "layer.json", json.dumps({"base": base, **asdict(blob)}) + "\n")
        settle(made, self.layers / blob.sha256, DISK)
        return blob

    def keep_product(self, format_: str, file: Path) -> Blob:
        """Freeze a finished file."""
        if not file.is_file():
            raise PipelineError(f"the step ended without its {format_} file", hint="this is a bug in the step")
        file.chmod(0o444)
        blob = digest(file)
        made = file.with_name(f"{file.name}.folder")
        made.mkdir()
        name = self.product(format_, blob.sha256).name
        file.rename(made / name)
        settle(made, self.products / blob.sha256, name)
        return blob

    def keep_document(self, file: Path) -> Blob:
        """Keep a small file that a record step left."""
        blob = digest(file)
        atomic.write_bytes(self.documents / blob.sha256, file.read_bytes(), mode=0o444)
        return blob

    def commit(self, outcome: UnitOutcome) -> None:
        """Make ``outcome`` known. Everything it names must have been kept before."""
        atomic.write_text(self._outcome_file(outcome.key), outcome.to_json())

    @contextlib.contextmanager
    def mutex(self) -> Iterator[None]:
        """Hold the store's mutex, for moments, while files are checked or removed."""
        with locks.held(self.root / "locks" / "mutex", "looking through the cache", wait=60):
            yield

    @contextlib.contextmanager
    def lease(self) -> Iterator[None]:
        """Keep everything that is used while the block runs from being collected as garbage."""
        file = self.leases / f"{Owner.current().mark}.{next(_serial)}"
        file.touch()
        try:
            yield
        finally:
            file.unlink(missing_ok=True)

    def sweep(self) -> list[Path]:
        """Remove what dead processes left half made; return what was removed."""
        removed = [*atomic.sweep(self.layers), *atomic.sweep(self.work), *atomic.sweep(self.outcomes)]
        removed += [*atomic.sweep(self.documents), *atomic.sweep(self.root)]
        for file in self.leases.glob("*"):
            owner = Owner.find(file.name)
            if owner is not None and not owner.is_alive():
                file.unlink(missing_ok=True)
        return removed

    def _outcome_file(self, key: str) -> Path:
        return self.outcomes / f"{key}.json"

    def _lock_file(self, key: str) -> Path:
        return self.root / "locks" / key


def digest(file: Path) -> Blob:
    """Return the SHA-256 and size of a file."""
    found = digest_file(file, ("sha256",))
    return Blob(found.sha256, found.size)


def settle(made: Path, target: Path, name: str) -> None:
    """Move the finished folder to its place, on disk. When the same content is there already, that stays."""
    for path in made.iterdir():
        atomic.fsync(path)
    atomic.fsync(made)
    if (target / name).is_file():
        target.touch()  # used again: no garbage
        shutil.rmtree(made)
        return
    if target.exists():
        # Somebody removed the file but not its folder.
        shutil.rmtree(target)
    try:
        made.rename(target)
    except OSError:
        if not (target / name).is_file():
            raise
        shutil.rmtree(made)
    atomic.fsync(target.parent)
