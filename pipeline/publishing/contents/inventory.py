"""Keep what is inside an image by the digest of its bytes, so that two published images can be compared."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.base import atomic, json_text
from pipeline.base.home import Home
from pipeline.engine.record.result import BuildResult
from pipeline.host.guestfs import contents


@dataclass(frozen=True)
class Inventory:
    """Names and what is known of each: of ``packages`` the version, of ``kernels`` nothing, of ``services`` whether
    they are enabled, of ``ports`` who listens, of ``users`` what they may do, of ``files`` what identifies the content.

    ``known`` lists the parts that were looked at: an empty one that is not in it says nothing.
    """

    packages: Mapping[str, str] = field(default_factory=dict)
    kernels: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    known: tuple[str, ...] = ()

    @classmethod
    def of(cls, build: BuildResult) -> Inventory:
        """Return what the steps of ``build`` found."""
        offline = build.facts.get("offline", {})
        inspection = offline.get("inspection", {})
        found = offline.get("contents", {})
        packed = build.facts.get("scan", {}).get("files") or found.get("files")
        recorded = {
            "packages": inspection.get("packages"),
            "kernels": inspection.get("kernels"),
            **{name: found.get(name) for name in ("services", "ports", "users")},
            "files": contents.unpack(packed) if packed else None,
        }
        return cls.parse({**recorded, "known": [name for name, value in recorded.items() if value is not None]})

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Inventory:
        """Read JSON data, where a list is as good as a table that says nothing of each name."""
        tables = {name: _table(data.get(name) or {}) for name in KINDS}
        return cls(**tables, known=tuple(sorted(map(str, data.get("known") or ()))))

    def table(self, kind: str) -> Mapping[str, str]:
        """Return one of ``KINDS``."""
        found: Mapping[str, str] = getattr(self, kind)
        return found


_KEPT = 2000
KINDS = ("packages", "kernels", "services", "ports", "users", "files")


def _table(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(name): str(detail) for name, detail in value.items()}
    return dict.fromkeys(map(str, value), "")


def keep(home: Home, sha512: str, inventory: Inventory) -> None:
    """Remember what the image with these bytes holds."""
    text = json.dumps(asdict(inventory), sort_keys=True, separators=(",", ":"))
    file = _file(home, sha512)
    atomic.write_bytes(file, gzip.compress(text.encode(), mtime=0))
    for old in sorted(file.parent.glob("*.gz"), key=_age)[:-_KEPT]:
        old.unlink(missing_ok=True)


def recall(home: Home, sha512: str | None) -> Inventory | None:
    """Return what the image with these bytes holds, or ``None`` when it was not built here."""
    if not sha512 or not _file(home, sha512).is_file():
        return None
    return Inventory.parse(json_text.loads(gzip.decompress(_file(home, sha512).read_bytes())))


def _age(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _file(home: Home, sha512: str) -> Path:
    # A digest comes from the cloud, too: only its letters and digits make the name.
    name = "".join(character for character in sha512 if character.isalnum())[:64]
    return home.root / "publishing" / "inventories" / f"{name}.json.gz"
