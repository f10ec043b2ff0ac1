"""Describe the catalog's rows outside the database: frozen, complete, with the questions they can answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from pipeline.imageservice.errors import Conflict


def now() -> int:
    """Return the present in microseconds since 1970 (UTC); every time in the catalog is such a number."""
    return time.time_ns() // 1000


class ImageStatus(StrEnum):
    """Where an image is in its life (contract: status machine)."""

    QUEUED = "queued"
    SAVING = "saving"
    ACTIVE = "active"
    KILLED = "killed"
    DELETED = "deleted"
    UPLOADING = "uploading"
    IMPORTING = "importing"
    PENDING_DELETE = "pending_delete"
    DEACTIVATED = "deactivated"

    @property
    def is_gone(self) -> bool:
        """Whether nobody sees the image through the API any more."""
        return self in (ImageStatus.DELETED, ImageStatus.PENDING_DELETE)

    @property
    def is_receiving(self) -> bool:
        """Whether data is on its way: such images count as being uploaded."""
        return self in (ImageStatus.SAVING, ImageStatus.UPLOADING, ImageStatus.IMPORTING)

    @property
    def has_settled_data(self) -> bool:
        """Whether the data is there and will not change."""
        return self in (ImageStatus.ACTIVE, ImageStatus.DEACTIVATED)

    @property
    def formats_may_change(self) -> bool:
        """Whether disk and container format are still open (uploading too: staged without them, else a dead end)."""
        return self in (ImageStatus.QUEUED, ImageStatus.UPLOADING)

    @property
    def counts_for_quota(self) -> bool:
        """Whether the image weighs on its owner's quota."""
        return self not in (ImageStatus.DELETED, ImageStatus.PENDING_DELETE, ImageStatus.KILLED)

    def may_become(self, other: ImageStatus) -> bool:
        """Return whether the status machine has the arrow ``self`` → ``other``."""
        return other in _ARROWS[self]


_S = ImageStatus
_ARROWS: Mapping[ImageStatus, frozenset[ImageStatus]] = {
    _S.QUEUED: frozenset({_S.SAVING, _S.UPLOADING, _S.IMPORTING, _S.ACTIVE, _S.DELETED}),
    _S.SAVING: frozenset({_S.ACTIVE, _S.QUEUED, _S.KILLED, _S.DELETED}),
    _S.UPLOADING: frozenset({_S.IMPORTING, _S.QUEUED, _S.DELETED}),
    _S.IMPORTING: frozenset({_S.ACTIVE, _S.QUEUED, _S.DELETED}),
    _S.ACTIVE: frozenset({_S.DEACTIVATED, _S.PENDING_DELETE, _S.DELETED}),
    _S.DEACTIVATED: frozenset({_S.ACTIVE, _S.PENDING_DELETE, _S.DELETED}),
    _S.PENDING_DELETE: frozenset({_S.DELETED, _S.ACTIVE, _S.DEACTIVATED}),
    _S.KILLED: frozenset({_S.DELETED}),
    _S.DELETED: frozenset(),
}


class ImageVisibility(StrEnum):
    """Who an image is for."""

    PUBLIC = "public"
    COMMUNITY = "community"
    SHARED = "shared"
    PRIVATE = "private"

    @property
    def is_open(self) -> bool:
        """Whether every project may use the image."""
        return self in (ImageVisibility.PUBLIC, ImageVisibility.COMMUNITY)


class MemberStatus(StrEnum):
    """What the consumer of a shared image thinks of it."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class LocationState(StrEnum):
    """What is known of the bytes at a location.

    A location is written down as ``pending`` before its store is, so that what a killed process left can be found.
    """

    PENDING = "pending"
    ACTIVE = "active"
    DELETING = "deleting"

    @property
    def is_shown(self) -> bool:
        """Whether the data there may be read."""
        return self is LocationState.ACTIVE


class ListingState(IntEnum):
    """In which lists an image can stand: the column ``shelf``, the first of every index for listing."""

    LISTED = 0
    HIDDEN = 1
    GONE = 2


@dataclass(frozen=True, slots=True)
class Location:
    """One place where an image's bytes lie. ``url`` is never shown to a client that may not see locations.

    ``identity`` is the digest of the object's identity (see ``objects``); ``None`` until its store has been asked.
    """

    id: int
    image_id: str
    url: str
    store: str | None
    metadata: Mapping[str, Any]
    state: LocationState
    created_at: int
    updated_at: int
    identity: bytes | None = None

    @property
    def described(self) -> dict[str, Any]:
        """The metadata as clients see and send it: with the store's id."""
        return {**self.metadata, **({"store": self.store} if self.store else {})}


@dataclass(frozen=True, slots=True)
class Image:
    """One image. Sizes in bytes, ``min_ram`` in MB, ``min_disk`` in GB, times in microseconds.

    ``properties`` are the custom ones; ``service`` holds what the service itself writes next to them (names without the
    ``os_glance_`` prefix). ``version`` grows by one with each change of the row.
    """

    id: str
    owner: str | None
    created_at: int
    updated_at: int
    name: str | None = None
    status: ImageStatus = ImageStatus.QUEUED
    visibility: ImageVisibility = ImageVisibility.SHARED
    protected: bool = False
    hidden: bool = False
    checksum: str | None = None
    hash_algo: str | None = None
    hash_value: str | None = None
    size: int | None = None
    virtual_size: int | None = None
    container_format: str | None = None
    disk_format: str | None = None
    min_ram: int = 0
    min_disk: int = 0
    deleted_at: int | None = None
    version: int = 1
    properties: Mapping[str, str | None] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    locations: tuple[Location, ...] = ()
    service: Mapping[str, str] = field(default_factory=dict)

    @property
    def listing_state(self) -> ListingState:
        """Which lists the image can stand in."""
        if self.status.is_gone:
            return ListingState.GONE
        return ListingState.HIDDEN if self.hidden else ListingState.LISTED

    @property
    def has_formats(self) -> bool:
        """Whether both formats are set, without which no data becomes active."""
        return bool(self.disk_format and self.container_format)

    @property
    def weight(self) -> int:
        """Bytes (UTF-8) of the custom properties and tags, names included."""
        texts = [*self.properties, *self.properties.values(), *self.tags]
        return sum(len(text.encode()) for text in texts if text is not None)

    @property
    def readable_locations(self) -> tuple[Location, ...]:
        """The locations whose data is complete."""
        return tuple(location for location in self.locations if location.state.is_shown)

    def require(self, *statuses: ImageStatus, doing: str) -> None:
        """Raise ``Conflict`` unless the status is one of ``statuses``; ``doing`` completes "… cannot be …"."""
        if self.status not in statuses:
            allowed = " or ".join(statuses)
            raise Conflict(f"Image {self.id} cannot be {doing}: its status is {self.status}, not {allowed}")


@dataclass(frozen=True, slots=True)
class Member:
    """A project that an image is shared with."""

    image_id: str
    member: str
    status: MemberStatus
    created_at: int
    updated_at: int
