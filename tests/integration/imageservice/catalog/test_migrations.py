"""The schema the migrations make, and how a database gets there."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from pipeline.base.errors import PipelineError
from pipeline.imageservice.catalog.database import migrate, tables
from pipeline.imageservice.catalog.database.connection import Database


def test_migrations_make_what_the_code_describes(database: Database) -> None:
    options = {"version_table": "catalog_version", "include_object": _is_ours, "compare_type": True}
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.metadata) == []


def _is_ours(_object: object, name: str | None, kind: str, *_rest: object) -> bool:
    return kind != "table" or str(name).startswith("catalog_")


def test_a_second_upgrade_changes_nothing(database: Database) -> None:
    newest = migrate.revisions()[-1].revision
    assert migrate.upgrade(database) == (newest, newest)


def test_an_older_schema_is_refused_with_the_way_out(database_url: str) -> None:
    database = Database(database_url)
    with pytest.raises(PipelineError, match="schema is at nothing") as caught:
        migrate.check(database)
    assert "service.db-upgrade" in str(caught.value)
    database.close()


def _at(database: Database, revision: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"UPDATE catalog_version SET version_num = '{revision}'"))


def test_a_schema_that_was_only_expanded_since_is_lived_with(database: Database) -> None:
    """A node of the older version that starts again during an upgrade."""
    newest = migrate.revisions()[-1].revision
    later = "9999" + newest[4:]
    _at(database, later)
    migrate.check(database)
    assert migrate.upgrade(database) == (later, later)


@pytest.mark.parametrize("number", ["9999-{more}", "unknown"])
def test_a_schema_that_was_contracted_since_is_refused(database: Database, number: str) -> None:
    newest = migrate.revisions()[-1].revision
    _at(database, number.format(more=migrate.contractions(newest) + 1))
    with pytest.raises(PipelineError, match="newer version"):
        migrate.check(database)
    with pytest.raises(PipelineError, match="newer version"):
        migrate.upgrade(database)


def test_text_compares_by_bytes(database: Database) -> None:
    """No folding of case, no ignored blanks at the end, no language's order."""
    words = ["a", "A", "a ", "ä", "z", "Z", "é", "e", "😀"]
    with database.engine.begin() as connection:
        connection.execute(sqlalchemy.insert(tables.used_ids), [{"id": word} for word in words])
        query = sqlalchemy.select(tables.used_ids.c.id).order_by(tables.used_ids.c.id)
        assert list(connection.execute(query).scalars()) == sorted(words, key=str.encode)


def _upgrade(url: str) -> None:
    migrate.upgrade(Database(url))


@pytest.mark.parametrize("processes", [4])
def test_processes_that_start_together_upgrade_once(database_url: str, processes: int) -> None:
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_upgrade, args=(database_url,)) for _ in range(processes)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0] * processes
    migrate.check(Database(database_url))


def test_a_database_in_memory_is_refused() -> None:
    with pytest.raises(PipelineError, match="in memory"):
        Database("sqlite://")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(PipelineError, match="'oracle' are not supported"):
        Database("oracle://host/name")


def test_sqlite_keeps_every_commit(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/catalog.db")
    with database.read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}
