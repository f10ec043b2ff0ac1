"""Describe what an image in a cloud should be: one file, one name, and what its record says."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.ownership_marker import Chain, ImageState
from pipeline.publishing.cloud.patch import RecordPatch
from pipeline.publishing.cloud.record import ImageRecord

_TRUSTED = frozenset({"sha256", "sha384", "sha3_256", "sha3_384", "sha3_512", "blake2b"})
HELD = {"visibility": "private", "os_hidden": True, "protected": False}


@dataclass(frozen=True)
class DesiredImage:
    """The image that should be the newest of its chain.

    ``path`` holds ``size`` bytes with digest ``sha512``; ``properties`` are those to publish, the signature over
    exactly these bytes among them. ``version`` stands in the dated name the image bears before and after it is the
    newest. ``members`` are the projects a shared image is for. ``certificate`` is the id under which this machine has
    the signature's certificate, when the cloud knows it by another.
    """

    chain: Chain
    name: str
    version: str
    path: Path
    size: int
    sha512: str
    disk_format: str
    container_format: str
    visibility: str = "private"
    hidden: bool = False
    protected: bool = False
    tags: frozenset[str] = frozenset()
    min_disk: int = 0
    min_ram: int = 0
    properties: Mapping[str, str] = field(default_factory=dict)
    members: frozenset[str] = frozenset()
    certificate: str = ""

    @property
    def dated_name(self) -> str:
        """The name while it is not the newest."""
        return dated_name(self.name, self.version)

    def record(self, identity: str, serial: int, run: str, runner: str) -> dict[str, Any]:
        """Return the document that makes the image with the id ``identity``: hidden, private, not shown to anybody
        yet.
        """
        return {
            **self.properties,
            "id": identity,
            "name": self.dated_name,
            "disk_format": self.disk_format,
            "container_format": self.container_format,
            "min_disk": self.min_disk,
            "min_ram": self.min_ram,
            **HELD,
            **self.chain.filters,
            ownership_marker.SERIAL: str(serial),
            ownership_marker.STATE: str(ImageState.UPLOADING),
            ownership_marker.SHA512: self.sha512,
            ownership_marker.VERSION: self.version,
            ownership_marker.RUN: run,
            ownership_marker.RUNNER: runner,
            ownership_marker.PROPERTIES: ",".join(sorted(self.properties)),
        }

    def shown(self, moment: str) -> RecordPatch:
        """Return the one change that makes the image the newest, ``moment`` being now."""
        return RecordPatch(
            {
                "name": self.name,
                "visibility": self.visibility,
                "os_hidden": self.hidden,
                "protected": self.protected,
                "tags": self.tags,
            },
            {ownership_marker.STATE: str(ImageState.NEWEST), ownership_marker.SWITCHED_AT: moment},
            frozenset({ownership_marker.HELD_BECAUSE, ownership_marker.SUPERSEDED_AT}),
        )

    def described(self, record: ImageRecord) -> RecordPatch:
        """Return the change that makes the record say what is desired, apart from what is shown to whom."""
        before = {name for name in record.properties.get(ownership_marker.PROPERTIES, "").split(",") if name}
        return RecordPatch(
            {"min_disk": self.min_disk, "min_ram": self.min_ram},
            {**self.properties, ownership_marker.PROPERTIES: ",".join(sorted(self.properties))},
            frozenset(before - set(self.properties)),
        )

    def refreshed(self, record: ImageRecord) -> RecordPatch:
        """Return the change that brings the newest image's record in line, its bytes being right already."""
        described = self.described(record)
        shown = {
            "name": self.name,
            "visibility": self.visibility,
            "os_hidden": self.hidden,
            # Somebody may have protected the image by hand: that stays.
            "protected": self.protected or record.is_protected,
            "tags": self.tags,
        }
        return RecordPatch({**shown, **described.fields}, described.properties, described.remove)

    @property
    def signature(self) -> dict[str, str]:
        """The ``img_signature*`` properties."""
        return {name: value for name, value in self.properties.items() if name.startswith("img_signature")}

    def matches(self, record: ImageRecord) -> bool:
        """Return whether ``record`` is active and holds these bytes in this format."""
        return record.is_active and self.is_held_by(record)

    def is_held_by(self, record: ImageRecord) -> bool:
        """Return whether ``record`` has these bytes in this format, by the digest that the service computed."""
        formats = (record.disk_format, record.container_format)
        if record.hash_value is None or formats != (self.disk_format, self.container_format):
            return False
        return record.hash_value == self.digest(record.hash_algorithm)

    def digest(self, algorithm: str | None) -> str | None:
        """Return the digest of the bytes, as a service computes it that was told to use ``algorithm``.

        ``None`` for an algorithm that others can find a second content for, or that is not known here.
        """
        if algorithm == "sha512":
            return self.sha512
        return _digest(self.path, self.sha512, algorithm) if algorithm in _TRUSTED else None


@functools.lru_cache(maxsize=64)
def _digest(path: Path, sha512: str, algorithm: str) -> str:
    """``sha512`` keeps files apart that took one another's place."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def dated_name(name: str, version: str) -> str:
    """Return the name of an image that is not the newest; at most the 255 characters the API allows."""
    return f"{name[: 254 - len(version)]}-{version}"


def retired(record: ImageRecord, state: ImageState, moment: str, *, drop_protection: bool) -> RecordPatch:
    """Return the change that takes an image off the stage: dated name, hidden; its visibility stays for those who use
    it.

    ``drop_protection``: the recipe protects its newest image, so that the protection is ours to take.
    """
    name = record.name if record.bears_date else dated_name(record.name, record.version)
    fields: dict[str, Any] = {"name": name, "os_hidden": True}
    if drop_protection:
        fields["protected"] = False
    properties = {ownership_marker.STATE: str(state)}
    if ownership_marker.SUPERSEDED_AT not in record.properties:
        properties[ownership_marker.SUPERSEDED_AT] = moment
    return RecordPatch(fields, properties)


def restored(record: ImageRecord) -> RecordPatch:
    """Return the change that makes an image the newest again, as ``record`` described it when it was."""
    fields = {
        "name": record.name,
        "visibility": record.visibility,
        "os_hidden": record.is_hidden,
        "protected": record.is_protected,
        "tags": record.tags,
    }
    return RecordPatch(
        fields, {ownership_marker.STATE: str(ImageState.NEWEST)}, frozenset({ownership_marker.SUPERSEDED_AT})
    )
