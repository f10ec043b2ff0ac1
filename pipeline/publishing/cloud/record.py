"""Read an image as a cloud describes it, with care: the cloud is somebody else's program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.ownership_marker import ImagePart, ImageState

_EPOCH = datetime.fromtimestamp(0, UTC)
# Base fields of the image document (Image API v2); every other key is a custom property.
BASE_FIELDS = frozenset(
    {
        "id",
        "name",
        "status",
        "visibility",
        "protected",
        "os_hidden",
        "checksum",
        "os_hash_algo",
        "os_hash_value",
        "owner",
        "size",
        "virtual_size",
        "container_format",
        "disk_format",
        "created_at",
        "updated_at",
        "tags",
        "min_ram",
        "min_disk",
        "self",
        "file",
        "schema",
        "stores",
        "direct_url",
        "locations",
    }
)


@dataclass(frozen=True)
class ImageRecord:
    """One image document. ``properties`` holds the custom ones; ``size`` is in bytes, ``None`` without data."""

    id: str
    name: str
    status: str
    visibility: str
    is_protected: bool
    is_hidden: bool
    size: int | None
    checksum: str | None
    hash_algorithm: str | None
    hash_value: str | None
    disk_format: str | None
    container_format: str | None
    min_disk: int
    min_ram: int
    created_at: datetime
    updated_at: datetime
    owner: str | None
    tags: frozenset[str]
    stores: tuple[str, ...]
    properties: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, document: Any) -> ImageRecord:
        """Read an image document. Raises ``PipelineError`` when ``document`` is none."""
        if not isinstance(document, dict) or not isinstance(document.get("id"), str):
            raise PipelineError("the cloud answered with something that is not an image document")
        return cls(
            id=document["id"],
            name=_text(document.get("name")) or "",
            status=_text(document.get("status")) or "",
            visibility=_text(document.get("visibility")) or "",
            is_protected=document.get("protected") is True,
            is_hidden=document.get("os_hidden") is True,
            size=_whole(document.get("size")),
            checksum=_text(document.get("checksum")),
            hash_algorithm=_text(document.get("os_hash_algo")),
            hash_value=_text(document.get("os_hash_value")),
            disk_format=_text(document.get("disk_format")),
            container_format=_text(document.get("container_format")),
            min_disk=_whole(document.get("min_disk")) or 0,
            min_ram=_whole(document.get("min_ram")) or 0,
            created_at=ownership_marker.parse_time(_text(document.get("created_at"))) or _EPOCH,
            updated_at=ownership_marker.parse_time(_text(document.get("updated_at"))) or _EPOCH,
            owner=_text(document.get("owner")),
            tags=frozenset(_texts(document.get("tags"))),
            stores=tuple(name for name in (_text(document.get("stores")) or "").split(",") if name),
            properties={
                key: value for key, value in document.items() if key not in BASE_FIELDS and isinstance(value, str)
            },
        )

    @property
    def is_active(self) -> bool:
        """Whether it has all its data."""
        return self.status == "active"

    @property
    def state(self) -> ImageState | None:
        """Where it stands in its life; ``None`` for an image that is not ours or says nothing we know."""
        text = self.properties.get(ownership_marker.STATE, "")
        return ImageState(text) if text in set(ImageState) else None

    @property
    def part(self) -> ImagePart | None:
        """What it is to its recipe."""
        text = self.properties.get(ownership_marker.PART, "")
        return ImagePart(text) if text in set(ImagePart) else None

    @property
    def serial(self) -> int:
        """Its number in its chain; 0 when it has none."""
        text = self.properties.get(ownership_marker.SERIAL, "")
        return int(text) if text.isdecimal() and len(text) < 10 else 0

    @property
    def sha512(self) -> str | None:
        """The digest of its bytes as the service computed it; a mark, which anybody can write, never stands for it."""
        return self.hash_value if self.hash_algorithm == "sha512" else None

    @property
    def recipe(self) -> str | None:
        """The recipe it was made from."""
        return self.properties.get(ownership_marker.RECIPE)

    @property
    def version(self) -> str:
        """The stamp in its dated name."""
        return self.properties.get(ownership_marker.VERSION) or ownership_marker.version_stamp(self.created_at)

    @property
    def bears_date(self) -> bool:
        """Whether it has its dated name, not the stable one that consumers ask for."""
        return self.name.endswith(f"-{self.version}")

    @property
    def retired_at(self) -> datetime:
        """When it stopped being the newest, or when it was made if it never was."""
        return ownership_marker.parse_time(self.properties.get(ownership_marker.SUPERSEDED_AT)) or self.created_at

    @property
    def age_key(self) -> tuple[datetime, int]:
        """Orders a chain's images as a listing sorted by ``created_at`` does; the greatest is the newest."""
        return (self.created_at, self.serial)

    @property
    def signature(self) -> dict[str, str]:
        """The ``img_signature*`` properties."""
        return {key: value for key, value in self.properties.items() if key.startswith("img_signature")}

    def belongs_to(self, chain: ownership_marker.Chain) -> bool:
        """Return whether it carries the chain's ownership mark."""
        return all(self.properties.get(key) == value for key, value in chain.filters.items())


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
