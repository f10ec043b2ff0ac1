"""Count the changes of metadata definitions, so that whoever keeps something of them knows whether it still holds."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from pipeline.imageservice.catalog.database import tables

_T = tables.sequences
_MINE = _T.c.name == "metadefs"


def bump(connection: Connection) -> None:
    """Say that definitions change in this transaction: before they do, so that all writers take their turn here, in
    one order.
    """
    connection.execute(update(_T).where(_MINE).values(value=_T.c.value + 1))


def current(connection: Connection) -> int:
    """Return how often definitions have changed."""
    return int(connection.execute(select(_T.c.value).where(_MINE)).scalar() or 0)
