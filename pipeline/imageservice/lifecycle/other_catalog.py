"""Read the database of the reference service, whichever release of it and kind of server it is. Nothing is written."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, MetaData, Table, select

from pipeline.base import json_text
from pipeline.base.errors import PipelineError
from pipeline.imageservice.catalog.database.connection import parse_url
from pipeline.imageservice.catalog.database.refusal import explain

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class OtherCatalog:
    """A connection to the other database, and its tables as they are there."""

    connection: Connection
    tables: Mapping[str, Table]

    def rows(self, table: str, **values: Any) -> list[Mapping[str, Any]]:
        """Return the rows whose columns have these values, by their id where there is one."""
        columns = self.tables[table].c
        query = select(self.tables[table]).where(*(columns[name] == value for name, value in values.items()))
        if "id" in columns:
            query = query.order_by(columns["id"])
        return [dict(row) for row in self.connection.execute(query).mappings()]


@contextlib.contextmanager
def opened(url: str, needed: Mapping[str, Collection[str]], optional: Sequence[str] = ()) -> Iterator[OtherCatalog]:
    """Open the database at ``url``. ``needed``: its tables with the columns that old releases lack.

    Of the tables ``optional``, those are there that the database has. Raises ``PipelineError``.
    """
    parsed = parse_url(url)
    engine = sqlalchemy.create_engine(parsed, poolclass=sqlalchemy.NullPool)
    metadata = MetaData()
    try:
        present = set(sqlalchemy.inspect(engine).get_table_names())
        metadata.reflect(engine, only=[*needed, *present.intersection(optional)])
    except sqlalchemy.exc.InvalidRequestError:
        raise PipelineError(
            "this is not a database of the reference image service: its tables are missing",
            hint="give the URL in the section [database] of its glance-api.conf",
        ) from None
    except Exception as error:  # drivers raise anything about options, certificates and libraries
        raise _unreadable(error, parsed) from None
    for name, columns in needed.items():
        if missing := set(columns) - set(metadata.tables[name].c.keys()):
            raise PipelineError(
                f"the other database is too old: {name} has no column {sorted(missing)[0]}",
                hint="bring it to a release from 2018 (Rocky) or later first: glance-manage db_sync",
            )
    try:
        with engine.connect() as connection:
            yield OtherCatalog(connection, metadata.tables)
    except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError) as error:
        raise _unreadable(error, parsed) from None


def _unreadable(error: Exception, url: sqlalchemy.URL) -> PipelineError:
    cause, action, driver_message = explain(getattr(error, "orig", None) or error, url)
    action = action.replace("`database.url`", "the URL you gave")
    return PipelineError(f"the other database cannot be read: {cause}", details=[driver_message], hint=action)


def moment(value: datetime | str | None) -> int | None:
    """Return a time as we have it, in microseconds; there it is in UTC, as text in some databases."""
    if value is None:
        return None
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return int((at.replace(tzinfo=UTC) - _EPOCH).total_seconds() * 1_000_000)


def json_object(value: Any) -> dict[str, Any]:
    """Return what a column of JSON text holds; empty where that is no object."""
    if isinstance(value, str | bytes):
        try:
            value = json_text.loads(value)
        except ValueError:
            return {}
    return dict(value) if isinstance(value, dict) else {}
