"""What is inside an image, kept by the digest of its bytes, so that two published images can be compared."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.base import atomic
from pipeline.base.home import Home
from pipeline.engine.result import BuildResult


@dataclass(frozen=True)
class Inventory:
    """``packages``: name → version; ``files``: path → what identifies the content; the others are names.

    ``known`` lists the parts that were looked at: an empty one that is not in it says nothing.
    """

    packages: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    services: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    known: tuple[str, ...] = ()

    @classmethod
    def of(cls, build: BuildResult) -> Inventory:
        """What the steps of ``build`` found."""
        offline = build.facts.get("offline", {})
        inspection = offline.get("inspection", {})
        contents = offline.get("contents", {})
        tested = build.facts.get("boot_test", {})
        found = {
            "packages": inspection.get("packages"),
            "kernels": inspection.get("kernels"),
            "files": contents.get("files"),
            "services": contents.get("services"),
            "users": contents.get("users"),
            "ports": tested.get("ports"),
        }
        return cls.parse({**found, "known": [name for name, value in found.items() if value is not None]})

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Inventory:
        """From JSON data."""
        found: dict[str, Any] = {name: tuple(sorted(map(str, data.get(name) or ()))) for name in _LISTS}
        for name in _MAPS:
            found[name] = {str(key): str(value) for key, value in (data.get(name) or {}).items()}
        return cls(**found)


_LISTS = ("services", "ports", "users", "kernels", "known")
_MAPS = ("packages", "files")


def keep(home: Home, sha512: str, inventory: Inventory) -> None:
    """Remember what the image with these bytes holds."""
    text = json.dumps(asdict(inventory), sort_keys=True, separators=(",", ":"))
    atomic.write_bytes(_file(home, sha512), gzip.compress(text.encode(), mtime=0))


def recall(home: Home, sha512: str | None) -> Inventory | None:
    """What the image with these bytes holds, or ``None`` when it was not built here."""
    if not sha512 or not _file(home, sha512).is_file():
        return None
    return Inventory.parse(json.loads(gzip.decompress(_file(home, sha512).read_bytes())))


def _file(home: Home, sha512: str) -> Path:
    # A digest comes from the cloud, too: only its letters and digits make the name.
    name = "".join(character for character in sha512 if character.isalnum())[:64]
    return home.root / "publishing" / "inventories" / f"{name}.json.gz"
