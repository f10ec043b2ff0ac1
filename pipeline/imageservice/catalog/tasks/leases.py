"""Lease work: a claim with a fence that ends by itself when its holder dies.

A holder renews its lease (at a third of its length, say); when it stops, anybody may take the lease after its end and
clean up. Each grant carries a ``fence``, a number that only grows: whoever writes in the name of a lease first checks,
in the same transaction, that it still holds it (``check``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.database.tables import AnyRow
from pipeline.imageservice.errors import Conflict
from pipeline.imageservice.model.images import now

_T = tables.leases
_COLUMNS = (_T.c.name, _T.c.holder, _T.c.fence, _T.c.expires_at, _T.c.data)


@dataclass(frozen=True, slots=True)
class Lease:
    """A granted lease. ``expires_at`` in microseconds; ``data`` is for whoever has to clean up."""

    name: str
    holder: str
    fence: int
    expires_at: int
    data: Mapping[str, Any] | None


def acquire(
    connection: Connection, name: str, holder: str, seconds: float, data: Mapping[str, Any] | None = None
) -> Lease | None:
    """Take the lease ``name``, for the first time or after its end; ``None`` while somebody holds it."""
    fence = next_number(connection, "fence")
    until = now() + int(seconds * 1_000_000)
    values = {"holder": holder, "fence": fence, "expires_at": until, "data": dict(data) if data else None}
    ended = update(_T).where(_T.c.name == name, _T.c.expires_at <= now()).values(**values)
    if connection.execute(ended).rowcount == 0:
        held = connection.execute(select(_T.c.name).where(_T.c.name == name)).first()
        if held:
            return None
        try:
            with connection.begin_nested():
                connection.execute(insert(_T), {"name": name, **values})
        except IntegrityError:
            return None
    return Lease(name, holder, fence, until, data)


def renew(connection: Connection, lease: Lease, seconds: float) -> None:
    """Hold ``lease`` for ``seconds`` from now. Raises ``Conflict`` when it was lost."""
    until = now() + int(seconds * 1_000_000)
    if connection.execute(update(_T).where(*_mine(lease)).values(expires_at=until)).rowcount != 1:
        raise _lost(lease)


def check(connection: Connection, lease: Lease) -> None:
    """Raise ``Conflict`` unless ``lease`` is still held; nobody else gets it before this transaction ends."""
    query = select(_T.c.name).where(*_mine(lease)).with_for_update()
    if connection.execute(query).first() is None:
        raise _lost(lease)


def release(connection: Connection, lease: Lease) -> bool:
    """Give the lease back; whether it was still ours."""
    return connection.execute(delete(_T).where(*_mine(lease))).rowcount == 1


def expired(connection: Connection, *, prefix: str = "", limit: int = 100) -> list[Lease]:
    """Return leases that have ended and were not given back, whose names begin with ``prefix``: work for a clean-up."""
    query = select(*_COLUMNS).where(_T.c.expires_at <= now()).order_by(_T.c.expires_at).limit(limit)
    if prefix:
        query = query.where(_T.c.name.startswith(prefix, autoescape=True))
    return [_from_row(row) for row in connection.execute(query)]


def find(connection: Connection, name: str) -> Lease | None:
    """Return the lease of this name, ended or not."""
    row = connection.execute(select(*_COLUMNS).where(_T.c.name == name)).first()
    return _from_row(row) if row else None


def next_number(connection: Connection, name: str) -> int:
    """Return the next number of the sequence ``name`` (a migration made it); each number is given once."""
    table = tables.sequences
    mine = table.c.name == name
    connection.execute(update(table).where(mine).values(value=table.c.value + 1))
    return int(connection.execute(select(table.c.value).where(mine)).scalar_one())


def _mine(lease: Lease) -> tuple[Any, ...]:
    return (_T.c.name == lease.name, _T.c.holder == lease.holder, _T.c.fence == lease.fence)


def _lost(lease: Lease) -> Conflict:
    return Conflict(f"the lease {lease.name} ended and was taken by somebody else")


def _from_row(row: AnyRow) -> Lease:
    name, holder, fence, expires_at, data = row
    return Lease(name, holder, fence, expires_at, data)
