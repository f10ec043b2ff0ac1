"""Upgrades while the older version still runs: what it writes and reads goes on working."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Boolean, Connection, LargeBinary, MetaData, Table, insert, select

from pipeline.imageservice.catalog.database import migrate
from pipeline.imageservice.catalog.database.connection import Database

EXPANDING = [script.revision for script in migrate.revisions()[1:] if script.module.PHASE == "expand"]


def test_every_revision_says_its_phase() -> None:
    phases = [script.module.PHASE for script in migrate.revisions()]
    assert set(phases) <= {"expand", "contract"}
    assert phases[0] == "expand"


def test_every_revision_is_called_by_its_number_and_the_contractions_up_to_it() -> None:
    contractions = 0
    for number, script in enumerate(migrate.revisions(), 1):
        contractions += script.module.PHASE == "contract"
        assert script.revision == f"{number:04}" + (f"-{contractions}" if contractions else "")


@pytest.mark.parametrize("revision", EXPANDING)
def test_the_older_version_goes_on_working(database_url: str, revision: str) -> None:
    """Rows are written and read with the tables as they were before ``revision``, on a database that is past it."""
    database = Database(database_url)
    names = [script.revision for script in migrate.revisions()]
    older = names[names.index(revision) - 1]
    migrate.upgrade(database, to=older)
    before = MetaData()
    before.reflect(database.engine)
    migrate.upgrade(database, to=revision)
    ours = [
        table for table in before.sorted_tables if table.name.startswith("catalog_") and table.name != "catalog_version"
    ]
    assert len(ours) > 5
    database.write(lambda connection: _use(connection, ours))
    database.close()


def _use(connection: Connection, ours: list[Table]) -> None:
    image_id = str(uuid.uuid4())
    for table in ours:
        row = {column.name: _value(column, image_id) for column in table.c}
        connection.execute(insert(table), row)
        found = connection.execute(select(table)).mappings().all()[-1]
        assert set(found) == set(table.c.keys())


def _value(column: sqlalchemy.Column[Any], image_id: str) -> Any:
    """Something that fits the column as it was."""
    if column.name == "image_id" or (
        column.name == "id" and column.table.name in ("catalog_images", "catalog_used_ids")
    ):
        return image_id
    notes = column.name == "state" and column.table.name == "catalog_tasks"
    if notes or column.name in ("document", "metadata", "data", "input", "result", "progress"):
        return {"properties": {}, "tags": []} if isinstance(column.type, sqlalchemy.JSON) else "{}"
    if isinstance(column.type, Boolean):
        return False
    if isinstance(column.type, LargeBinary) or "BINARY" in str(column.type):
        return b"0" * 16
    if isinstance(column.type, sqlalchemy.Integer | sqlalchemy.BigInteger):
        return 7
    return "fine"


def test_expanding_stops_before_the_first_contraction(monkeypatch: pytest.MonkeyPatch) -> None:
    class Script:
        def __init__(self, revision: str, phase: str) -> None:
            self.revision = revision
            self.module = type("Module", (), {"PHASE": phase})

    history = [Script("1", "expand"), Script("2", "expand"), Script("3", "contract"), Script("4", "expand")]
    monkeypatch.setattr(migrate, "revisions", lambda: history)
    assert migrate.target(None, "expand") == "2"
    assert migrate.target("1", "expand") == "2"
    assert migrate.target("2", "expand") == "2"
    assert migrate.target("3", "expand") == "4"
    assert migrate.target(None, "contract") == "4"
