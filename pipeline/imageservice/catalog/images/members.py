"""Keep with whom images are shared."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.database.tables import AnyRow
from pipeline.imageservice.errors import Duplicate
from pipeline.imageservice.model.images import Image, ListingState, Member, MemberStatus, now

_T = tables.members
_COLUMNS = (_T.c.image_id, _T.c.member, _T.c.status, _T.c.created_at, _T.c.updated_at)


def of_image(connection: Connection, image_id: str) -> list[Member]:
    """Return all members of one image, oldest first."""
    query = select(*_COLUMNS).where(_T.c.image_id == image_id).order_by(_T.c.created_at, _T.c.member)
    return [_from_row(row) for row in connection.execute(query)]


def find(connection: Connection, image_id: str, member: str) -> Member | None:
    """Return one membership."""
    query = select(*_COLUMNS).where(_T.c.image_id == image_id, _T.c.member == member)
    row = connection.execute(query).first()
    return _from_row(row) if row else None


def images_of(connection: Connection, member: str) -> list[str]:
    """Return the ids of the images that others share with a project, whatever it says to them."""
    table = tables.images
    query = select(_T.c.image_id).join(table, table.c.id == _T.c.image_id).where(_T.c.member == member)
    query = query.where(table.c.visibility == "shared", table.c.shelf < int(ListingState.GONE))
    return list(connection.execute(query.order_by(_T.c.image_created_at.desc(), _T.c.image_id.desc())).scalars())


def count(connection: Connection, image_id: str) -> int:
    """Return how many members an image has."""
    return int(connection.execute(select(func.count()).where(_T.c.image_id == image_id)).scalar_one())


def add(connection: Connection, image: Image, member: str) -> Member:
    """Share a (locked) image with a project, pending its consent. Raises ``Duplicate`` when it is shared already."""
    moment = now()
    row = {
        "image_id": image.id,
        "member": member,
        "status": str(MemberStatus.PENDING),
        "created_at": moment,
        "updated_at": moment,
        "image_created_at": image.created_at,
    }
    try:
        connection.execute(insert(_T), row)
    except IntegrityError:
        raise Duplicate(f"The target member {member} is already associated with image {image.id}.") from None
    return Member(image.id, member, MemberStatus.PENDING, moment, moment)


def set_status(connection: Connection, member: Member, status: MemberStatus) -> Member:
    """Set what the member says of the image."""
    moment = now()
    mine = (_T.c.image_id == member.image_id) & (_T.c.member == member.member)
    connection.execute(update(_T).where(mine).values(status=str(status), updated_at=moment))
    return Member(member.image_id, member.member, status, member.created_at, moment)


def remove(connection: Connection, image_id: str, member: str) -> bool:
    """Stop sharing with a project; whether it was a member."""
    return connection.execute(delete(_T).where(_T.c.image_id == image_id, _T.c.member == member)).rowcount > 0


def remove_all(connection: Connection, image_id: str) -> None:
    """Stop sharing an image at all: it was deleted."""
    connection.execute(delete(_T).where(_T.c.image_id == image_id))


def _from_row(row: AnyRow) -> Member:
    image_id, member, status, created_at, updated_at = row
    return Member(image_id, member, MemberStatus(status), created_at, updated_at)
