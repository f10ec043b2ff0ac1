"""Mark images as ours, so that publishing knows later what is its own and what state that is in.

The cloud's records are the truth and these properties are part of them: a run on another machine, or after a crash,
reads them and goes on. Only images that carry the ownership mark are ever changed or deleted.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

PUBLISHER = "pipeline_publisher"  # the ownership mark
RECIPE = "pipeline_recipe"
PART = "pipeline_part"
SERIAL = "pipeline_serial"
STATE = "pipeline_state"
SHA512 = "pipeline_sha512"
VERSION = "pipeline_version"
RUN = "pipeline_run"
RUNNER = "pipeline_runner"
VERIFIED_AT = "pipeline_verified_at"
SWITCHED_AT = "pipeline_switched_at"
SUPERSEDED_AT = "pipeline_superseded_at"
HELD_BECAUSE = "pipeline_held_because"
KEEP = "pipeline_keep"
PROPERTIES = "pipeline_properties"
MEMBERS = "pipeline_members"
PREFIX = "pipeline_"

DEFAULT_PUBLISHER = "golden-image-pipeline"
# Names under which ids of publications are made; any fixed UUID serves.
_NAMESPACE = uuid.UUID("6f2f6a2e-6d3b-5c0e-9a58-3f1d6f0c7b11")


class ImageState(StrEnum):
    """Where a managed image stands in its life, as its ``pipeline_state`` says."""

    UPLOADING = "uploading"  # hidden, private; its bytes are not there yet, or not checked
    VERIFIED = "verified"  # hidden, private; read back from every store and found right
    HELD = "held"  # as verified, but a gate tripped: waits for a person
    NEWEST = "newest"  # what consumers get
    SUPERSEDED = "superseded"  # was newest, or never became it; dated name, hidden
    WITHDRAWN = "withdrawn"  # was newest until a person took it back

    @property
    def was_verified(self) -> bool:
        """Whether the bytes were read back once: such an image is healthy and only retention may delete it."""
        return self is not ImageState.UPLOADING

    @property
    def is_retired(self) -> bool:
        """Whether retention looks after it."""
        return self in (ImageState.SUPERSEDED, ImageState.WITHDRAWN)

    @property
    def waits(self) -> bool:
        """Whether it is complete and not yet shown to anybody."""
        return self in (ImageState.VERIFIED, ImageState.HELD)


class ImagePart(StrEnum):
    """What an image is to the recipe it belongs to."""

    DISK = "disk"
    KERNEL = "kernel"
    RAMDISK = "ramdisk"
    PROOF = "proof"  # the documents that verify the disk

    @property
    def suffix(self) -> str:
        """What stands behind the image's name, as ``openstack overcloud image upload`` names the first three."""
        return {"disk": "", "kernel": "-vmlinuz", "ramdisk": "-initrd", "proof": "-proof"}[self.value]


@dataclass(frozen=True)
class Chain:
    """The images of one part of one recipe, of which at most one is the newest."""

    publisher: str
    recipe: str
    part: ImagePart = ImagePart.DISK

    def image_id(self, serial: int) -> str:
        """Return the id of the chain's image number ``serial``.

        Two runners that both want to add the next image ask for the same id; the service gives it to one of them
        and answers 409 to the other. That makes creating the record the lock, on any Image API.
        """
        return str(uuid.uuid5(_NAMESPACE, f"{self.publisher}\n{self.recipe}\n{self.part}\n{serial}"))

    @property
    def filters(self) -> dict[str, str]:
        """The query that finds the chain's images."""
        return {PUBLISHER: self.publisher, RECIPE: self.recipe, PART: str(self.part)}


def version_stamp(moment: datetime) -> str:
    """Return ``moment`` as it stands in dated names: ``20261121T031500Z``."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def time_text(moment: datetime) -> str:
    """Return ``moment`` as marks hold it: ISO 8601, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str | None) -> datetime | None:
    """Return the moment a mark or the service names, or ``None`` when it is not one."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
