"""Image records and wanted images for tests, with everything that does not matter filled in."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.publishing import marks
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.marks import Chain, State
from pipeline.publishing.wanted import Wanted

CHAIN = Chain("golden-image-pipeline", "tiny")
NOW = datetime(2026, 11, 21, 3, 15, tzinfo=UTC)


def digest(text: str) -> str:
    """The sha512 that stands for the bytes ``text``."""
    return hashlib.sha512(text.encode()).hexdigest()


def wanted(content: str = "new", **more: Any) -> Wanted:
    """The image of ``content`` that should be the newest."""
    given = {
        "chain": CHAIN,
        "name": "tiny",
        "version": "20261121T031500Z",
        "path": Path("/nowhere"),
        "size": 1000,
        "sha512": digest(content),
        "disk_format": "qcow2",
        "container_format": "bare",
        "properties": {"os_distro": "cirros"},
    }
    return Wanted(**{**given, **more})


def record(state: State | None, content: str = "old", *, serial: int = 1, age: int = 10, **more: Any) -> ImageRecord:
    """An image of the chain, made ``age`` days before now. ``more`` are fields of the image's document."""
    made = marks.time_text(NOW - timedelta(days=age))
    document: dict[str, Any] = {
        "id": CHAIN.image_id(serial),
        "name": "tiny" if state is State.NEWEST else f"tiny-v{serial}",
        "status": "active",
        "visibility": "public",
        "protected": False,
        "os_hidden": state is not State.NEWEST,
        "size": 1000,
        "checksum": "0" * 32,
        "os_hash_algo": "sha512",
        "os_hash_value": digest(content),
        "disk_format": "qcow2",
        "container_format": "bare",
        "min_disk": 0,
        "min_ram": 0,
        "created_at": made,
        "updated_at": made,
        "tags": [],
        "stores": "main,mirror",
        "os_distro": "cirros",
        marks.PROPERTIES: "os_distro",
        marks.PUBLISHER: CHAIN.publisher,
        marks.RECIPE: CHAIN.recipe,
        marks.PART: str(CHAIN.part),
        marks.SERIAL: str(serial),
        marks.SHA512: digest(content),
        marks.VERSION: f"v{serial}",
        marks.RUNNER: "me",
        marks.VERIFIED_AT: made,
    }
    if state is not None:
        document[marks.STATE] = str(state)
    document.update(more)
    return ImageRecord.parse({name: value for name, value in document.items() if value is not None})
