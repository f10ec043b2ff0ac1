"""Image records and wanted images for tests, with everything that does not matter filled in."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.ownership_marker import Chain, ImageState
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.plan.desired import DesiredImage

CHAIN = Chain("golden-image-pipeline", "tiny")
OURS = "our-project"
NOW = datetime(2026, 11, 21, 3, 15, tzinfo=UTC)


def digest(text: str) -> str:
    """The sha512 that stands for the bytes ``text``."""
    return hashlib.sha512(text.encode()).hexdigest()


def desired(content: str = "new", **more: Any) -> DesiredImage:
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
    return DesiredImage(**{**given, **more})


def record(
    state: ImageState | None, content: str = "old", *, serial: int = 1, age: int = 10, **more: Any
) -> ImageRecord:
    """An image of the chain, made ``age`` days before now. ``more`` are fields of the image's document."""
    made = ownership_marker.time_text(NOW - timedelta(days=age))
    document: dict[str, Any] = {
        "id": CHAIN.image_id(serial),
        "name": "tiny" if state is ImageState.NEWEST else f"tiny-v{serial}",
        "status": "active",
        "visibility": "public",
        "protected": False,
        "os_hidden": state is not ImageState.NEWEST,
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
        "owner": OURS,
        "tags": [],
        "stores": "main,mirror",
        "os_distro": "cirros",
        ownership_marker.PROPERTIES: "os_distro",
        ownership_marker.PUBLISHER: CHAIN.publisher,
        ownership_marker.RECIPE: CHAIN.recipe,
        ownership_marker.PART: str(CHAIN.part),
        ownership_marker.SERIAL: str(serial),
        ownership_marker.SHA512: digest(content),
        ownership_marker.VERSION: f"v{serial}",
        ownership_marker.RUNNER: "me",
        ownership_marker.VERIFIED_AT: made,
    }
    if state is not None:
        document[ownership_marker.STATE] = str(state)
    document.update(more)
    return ImageRecord.parse({name: value for name, value in document.items() if value is not None})
