"""Back up the whole catalog into one file, and restore it: into a database of any kind.

A backup is gzipped JSON, a line for each row, read from one moment of a running service. Its first line names the
revision of the schema; its last one counts the rows, so that a file which was cut off is no backup. Image data is
not in it: that lies in the stores.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, LargeBinary, Table, func, insert, select

from pipeline.base import atomic, json_text
from pipeline.base.errors import PipelineError
from pipeline.imageservice.catalog.database import migrate, tables
from pipeline.imageservice.catalog.database.connection import Database

_FORMAT = "image-service-catalog"
_BATCH = 500


def backup(database: Database, file: Path) -> dict[str, int]:
    """Write a backup to ``file`` (mode 0600, it appears whole or not at all); the rows of each table."""
    counts: dict[str, int] = {}
    with atomic.new_file(file, mode=0o600) as temporary, gzip.open(temporary, "wt", encoding="utf-8") as out:
        with database.read() as connection:
            revision = migrate.current(connection)
            made = datetime.now(UTC).isoformat(timespec="seconds")
            _write(out, {"format": _FORMAT, "revision": revision, "made": made})
            for table in tables.metadata.sorted_tables:
                counts[table.name] = 0
                for row in _rows(connection, table):
                    _write(out, {"table": table.name, "row": row})
                    counts[table.name] += 1
        _write(out, {"end": counts})
    return counts


def restore(database: Database, file: Path) -> dict[str, int]:
    """Fill an empty database from ``file``; the rows of each table.

    Raises ``PipelineError`` when the file is no whole backup, or the database is not empty; nothing has changed then.
    """
    expected, revision = _inspect(file)
    migrate.upgrade(database)
    newest = migrate.revisions()[-1].revision
    if revision != newest:
        raise PipelineError(
            f"{file} was made at revision {revision} of the schema, this version of the service has {newest}",
            hint="restore it with the version that made it, then upgrade",
        )
    counts = database.write(lambda connection: _fill(connection, file))
    if counts != expected:
        raise PipelineError(f"{file} changed while it was read")
    return counts


def _has_own_definitions(connection: Connection) -> bool:
    """Return whether there are definitions of others than the catalogue that a service loads at its first start."""
    names = set(connection.execute(select(tables.metadef_namespaces.c.namespace)).scalars())
    sequence = tables.sequences
    changes = connection.execute(select(sequence.c.value).where(sequence.c.name == "metadefs")).scalar()
    loaded = connection.execute(select(tables.metadef_defaults.c.namespace, tables.metadef_defaults.c.version)).all()
    untouched = {name for name, version in loaded if version == changes}
    return not names <= untouched


def _fill(connection: Connection, file: Path) -> dict[str, int]:
    if _has_own_definitions(connection):
        raise PipelineError(
            "the database is not empty: it has metadata definitions of its own",
            hint="restore into a new, empty database",
        )
    for table in (tables.images, tables.used_ids, tables.tasks):
        if connection.execute(select(func.count()).select_from(table)).scalar():
            raise PipelineError(
                f"the database is not empty: {table.name} has rows", hint="restore into a new, empty database"
            )
    for filled_at_first in (
        tables.metadef_namespaces,
        tables.metadef_resource_types,
        tables.metadef_defaults,
        tables.sequences,
    ):
        connection.execute(filled_at_first.delete())
    counts = {table.name: 0 for table in tables.metadata.sorted_tables}
    batch: list[dict[str, Any]] = []
    current: Table | None = None
    for line in _lines(file):
        if "row" not in line:
            continue
        table = tables.metadata.tables[line["table"]]
        if table is not current or len(batch) >= _BATCH:
            _insert(connection, current, batch)
            current, batch = table, []
        batch.append(_decoded(table, line["row"]))
        counts[table.name] += 1
    _insert(connection, current, batch)
    if connection.dialect.name == "postgresql":
        # Rows came with their numbers; the next ones must go on behind them.
        for column in (tables.locations.c.id, tables.quota_reservations.c.id, tables.outbox.c.number):
            highest = connection.execute(select(func.coalesce(func.max(column), 0))).scalar_one()
            sequence = func.pg_get_serial_sequence(column.table.name, column.name)
            connection.execute(select(func.setval(sequence, highest + 1, False)))
    return counts


def _insert(connection: Connection, table: Table | None, rows: list[dict[str, Any]]) -> None:
    if table is not None and rows:
        connection.execute(insert(table), rows)


def _inspect(file: Path) -> tuple[dict[str, int], str]:
    """Read the file to its end; the counts and the revision it claims."""
    counts: dict[str, int] = {}
    revision, end = "", None
    for number, line in enumerate(_lines(file)):
        if number == 0:
            if line.get("format") != _FORMAT:
                raise PipelineError(f"{file} is not a backup of the image service")
            revision = line["revision"]
        elif "row" in line:
            counts[line["table"]] = counts.get(line["table"], 0) + 1
        else:
            end = line.get("end")
    if end is None or {name: count for name, count in end.items() if count} != counts:
        raise PipelineError(f"{file} is cut off: it does not end as a backup does")
    unknown = sorted(set(end) - set(tables.metadata.tables))
    if unknown:
        raise PipelineError(f"{file} has tables that this version of the service does not know: {', '.join(unknown)}")
    return end, revision


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    try:
        with gzip.open(file, "rt", encoding="utf-8") as source:
            for line in source:
                yield json_text.loads(line)
    except FileNotFoundError:
        raise PipelineError(f"there is no file {file}") from None
    except (OSError, EOFError, ValueError) as error:
        raise PipelineError(f"{file} is not a backup of the image service, or is damaged: {error}") from None


def _rows(connection: Connection, table: Table) -> Iterator[dict[str, Any]]:
    columns = list(table.c)
    result = connection.execution_options(yield_per=_BATCH).execute(select(*columns).order_by(*table.primary_key))
    for row in result:
        yield {column.name: _encoded(value) for column, value in zip(columns, row, strict=True)}


def _encoded(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes | memoryview) else value


def _decoded(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: base64.b64decode(value) if isinstance(table.c[name].type, LargeBinary) and value is not None else value
        for name, value in row.items()
    }


def _write(out: IO[str], line: dict[str, Any]) -> None:
    out.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
