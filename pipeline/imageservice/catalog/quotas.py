"""Count what each project uses, without races.

One row per project holds the sums. Every write of an image moves them in its own transaction (``follow``); bytes that
are allowed but not there yet stand as reservations, which count too. A check first locks the project's row, so two
requests can't both take the last place. In contrast to counting rows on demand, nothing is ever read twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.errors import LimitExceeded
from pipeline.imageservice.model.images import Image, ImageStatus, now

MEBIBYTE = 1 << 20
_U = tables.quota_usage
_R = tables.quota_reservations
_ROW = select(_U).where(_U.c.project == bindparam("project"))
_LOCK = _ROW.with_for_update()
_ADD = (
    update(_U)
    .where(_U.c.project == bindparam("_project"))
    .values({column: column + bindparam(f"_{column.name}") for column in _U.c if column.name != "project"})
)


class QuotaResource(StrEnum):
    """The limits' names as the identity service registers them. Sizes are in MiB there."""

    SIZE = "image_size_total"
    STAGE = "image_stage_total"
    COUNT = "image_count_total"
    UPLOADING = "image_count_uploading"


@dataclass(frozen=True, slots=True)
class ProjectUsage:
    """Sums of one project: counts, and bytes. ``reserved_*`` are on their way."""

    images: int = 0
    receiving: int = 0
    stored: int = 0
    staged: int = 0
    reserved_stored: int = 0
    reserved_staged: int = 0

    def of(self, resource: QuotaResource) -> int:
        """Return the usage in the limit's own unit (whole MiB for sizes), bytes on their way included."""
        if resource is QuotaResource.COUNT:
            return self.images
        if resource is QuotaResource.UPLOADING:
            return self.receiving
        if resource is QuotaResource.SIZE:
            return (self.stored + self.reserved_stored) // MEBIBYTE
        return (self.staged + self.reserved_staged) // MEBIBYTE


@dataclass(frozen=True, slots=True)
class Reservation:
    """Bytes a project may still bring for one image."""

    id: int
    project: str
    image_id: str
    stored: int
    staged: int


def usage(connection: Connection, project: str | None) -> ProjectUsage:
    """Return what ``project`` uses now."""
    row = connection.execute(_ROW, {"project": project or ""}).first()
    return ProjectUsage(*row[1:]) if row else ProjectUsage()


def check(
    connection: Connection,
    project: str | None,
    limits: Mapping[QuotaResource, int],
    deltas: Mapping[QuotaResource, int],
) -> None:
    """Raise ``LimitExceeded`` when a limit in ``limits`` would be passed by adding ``deltas`` (MiB for sizes).

    The project's row stays locked until the transaction ends, so what is added in it cannot pass the limit either.
    """
    limited = {resource: delta for resource, delta in deltas.items() if resource in limits}
    if not limited:
        return
    current = _locked(connection, project)
    for resource, delta in limited.items():
        used, limit = current.of(resource), limits[resource]
        if used + delta > limit:
            raise LimitExceeded(
                f"Project {project} is over a limit for [Resource {resource} is over limit of {limit} due to "
                f"current usage {used} and delta {delta}]"
            )


def check_bytes(connection: Connection, project: str | None, limit: int, further: int) -> None:
    """Raise ``LimitExceeded`` when ``further`` bytes pass a storage quota of ``limit`` bytes (0: none)."""
    if not limit:
        return
    current = _locked(connection, project)
    used = current.stored + current.reserved_stored
    if used + further > limit:
        raise LimitExceeded(
            f"The size of the data {further} will exceed the limit. {max(0, limit - used)} bytes remaining."
        )


def room(
    connection: Connection, project: str | None, limits: Mapping[QuotaResource, int], resource: QuotaResource
) -> int | None:
    """Return how many bytes may still come under a limit of size; ``None`` for any number, negative when it is passed.

    The limit is in whole MiB, as ``check`` counts. The project's row stays locked until the transaction ends.
    """
    if resource not in limits:
        return None
    current = _locked(connection, project)
    staged = resource is QuotaResource.STAGE
    used = current.staged + current.reserved_staged if staged else current.stored + current.reserved_stored
    return (limits[resource] + 1) * MEBIBYTE - 1 - used


def room_of_bytes(connection: Connection, project: str | None, limit: int) -> int | None:
    """Return how many bytes may still be stored under a quota of ``limit`` bytes (0: none, and ``None`` is returned).

    The project's row stays locked until the transaction ends.
    """
    if not limit:
        return None
    current = _locked(connection, project)
    return limit - current.stored - current.reserved_stored


def reserve(
    connection: Connection, project: str | None, image_id: str, *, stored: int = 0, staged: int = 0
) -> Reservation:
    """Count bytes that are about to come. Call ``check`` or ``check_bytes`` first, in the same transaction."""
    row = {"project": project or "", "image_id": image_id, "stored": stored, "staged": staged, "created_at": now()}
    key = connection.execute(insert(_R), row).inserted_primary_key
    assert key is not None  # noqa: S101 - every dialect in use returns it
    _move(connection, project, ProjectUsage(reserved_stored=stored, reserved_staged=staged))
    return Reservation(key[0], project or "", image_id, stored, staged)


def grow(connection: Connection, reservation: Reservation, *, stored: int = 0, staged: int = 0) -> Reservation:
    """Count further bytes on ``reservation`` (data of unknown size); returns it as it is now."""
    grown = replace(reservation, stored=reservation.stored + stored, staged=reservation.staged + staged)
    mine = update(_R).where(_R.c.id == reservation.id)
    if connection.execute(mine.values(stored=_R.c.stored + stored, staged=_R.c.staged + staged)).rowcount:
        _move(connection, reservation.project, ProjectUsage(reserved_stored=stored, reserved_staged=staged))
    return grown


def fulfil(connection: Connection, image_id: str, *, stored: int = 0, staged: int = 0) -> None:
    """Count bytes of an image no longer as on their way: they are there, and counted as such."""
    mine = select(_R.c.id, _R.c.project, _R.c.stored, _R.c.staged).where(_R.c.image_id == image_id)
    for key, project, has_stored, has_staged in connection.execute(mine.order_by(_R.c.id).with_for_update()).all():
        by = {"stored": -min(stored, has_stored), "staged": -min(staged, has_staged)}
        connection.execute(update(_R).where(_R.c.id == key).values({name: _R.c[name] + by[name] for name in by}))
        _move(connection, project, ProjectUsage(reserved_stored=by["stored"], reserved_staged=by["staged"]))
        stored, staged = stored + by["stored"], staged + by["staged"]


def release(connection: Connection, image_id: str) -> None:
    """Drop every reservation for an image: its bytes are there (and counted as such), or will not come."""
    mine = select(_R.c.id, _R.c.project, _R.c.stored, _R.c.staged).where(_R.c.image_id == image_id)
    for key, project, stored, staged in connection.execute(mine.with_for_update()).all():
        if connection.execute(delete(_R).where(_R.c.id == key)).rowcount:
            _move(connection, project, ProjectUsage(reserved_stored=-stored, reserved_staged=-staged))


def follow(connection: Connection, before: Image | None, after: Image) -> None:
    """Move the counters by what an image's change means."""
    changes: dict[str | None, ProjectUsage] = {}
    if before is not None:
        changes[before.owner] = _weight(before, -1)
    changes[after.owner] = _sum(changes.get(after.owner, ProjectUsage()), _weight(after, 1))
    # In one order for everybody, so that two moves between the same projects cannot block each other.
    for project in sorted(changes, key=lambda name: name or ""):
        _move(connection, project, changes[project])


def _weight(image: Image, sign: int) -> ProjectUsage:
    if not image.status.counts_for_quota:
        return ProjectUsage()
    copying = bool(image.service.get("importing_to_stores"))
    in_staging = copying or image.status in (ImageStatus.UPLOADING, ImageStatus.IMPORTING)
    size = image.size or 0
    return ProjectUsage(
        images=sign,
        receiving=sign * int(copying or image.status.is_receiving),
        stored=sign * size * len(image.readable_locations),
        staged=sign * size * int(in_staging),
    )


def _sum(one: ProjectUsage, other: ProjectUsage) -> ProjectUsage:
    return ProjectUsage(*(getattr(one, name) + getattr(other, name) for name in ProjectUsage.__slots__))


def _locked(connection: Connection, project: str | None) -> ProjectUsage:
    key = {"project": project or ""}
    row = connection.execute(_LOCK, key).first()
    if row is None:
        _create(connection, project)
        row = connection.execute(_LOCK, key).first()
    return ProjectUsage(*row[1:]) if row else ProjectUsage()


def _move(connection: Connection, project: str | None, by: ProjectUsage) -> None:
    if by == ProjectUsage():
        return
    values = {"_project": project or "", **{f"_{name}": getattr(by, name) for name in ProjectUsage.__slots__}}
    if connection.execute(_ADD, values).rowcount == 0:
        _create(connection, project)
        connection.execute(_ADD, values)


def _create(connection: Connection, project: str | None) -> None:
    row = {"project": project or "", **dict.fromkeys(ProjectUsage.__slots__, 0)}
    try:
        with connection.begin_nested():
            connection.execute(insert(_U), row)
    except IntegrityError:
        pass  # another request was first, which is just as good
