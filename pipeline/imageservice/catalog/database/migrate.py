"""Migrate a database's schema up to date.

The embedded database is upgraded by the service itself at start, under a lock on a file next to it. Any other database
is the operator's: the service only checks it, and ``./inv service.db-upgrade`` changes it, in two steps for those who
run several nodes: *expand* (every revision up to the first contracting one; the older version keeps running), then,
when all nodes run the new version, *contract* (the rest).

A revision is called by its number and, after a dash, by how many contracting ones there are up to it: ``0004``,
``0005-1``. By that a version tells whether it can live with a schema from after its time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection

from pipeline.base import locks
from pipeline.base.errors import PipelineError
from pipeline.imageservice.catalog.database.connection import Database

Phase = Literal["expand", "contract"]
_FOLDER = Path(__file__).parents[1] / "migrations"
_VERSION_TABLE = "catalog_version"
_LOCK_NUMBER = 0x676F6C64  # PostgreSQL's advisory locks have numbers, MariaDB's names
_LOCK_NAME = "golden_image_catalog"


def revisions() -> list[Script]:
    """Return every revision, oldest first."""
    return list(reversed(list(ScriptDirectory(str(_FOLDER)).walk_revisions())))


def current(connection: Connection) -> str | None:
    """Return the revision the database is at; ``None`` for an empty one."""
    return MigrationContext.configure(connection, opts={"version_table": _VERSION_TABLE}).get_current_revision()


def target(at: str | None, until: Phase) -> str:
    """Return the revision an upgrade from ``at`` leads to when it stops before contracting, or not."""
    history = revisions()
    names = [script.revision for script in history]
    if until == "contract":
        return names[-1]
    reached = names.index(at) if at in names else -1
    for number, script in enumerate(history[reached + 1 :], reached + 1):
        if script.module.PHASE == "contract":
            return names[max(number - 1, 0)]
    return names[-1]


def upgrade(database: Database, *, until: Phase = "contract", to: str | None = None) -> tuple[str | None, str]:
    """Upgrade the schema; returns the revisions before and after. Several processes may call it at once.

    A schema that a newer version has only expanded stays as it is. Raises ``PipelineError`` for one beyond that.
    """
    with _alone(database), database.connected() as connection:
        if database.is_sqlite:
            connection = connection.execution_options(begin="IMMEDIATE")
        with connection.begin():
            before = current(connection)
            if before is not None and _is_newer(before):
                return before, before
            goal = to or target(before, until)
            config = Config()
            config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
            config.attributes["connection"] = connection
            if _position(before) < _position(goal):
                command.upgrade(config, goal)
        return before, max(before or goal, goal, key=_position)


def check(database: Database) -> None:
    """Raise ``PipelineError`` unless this version of the service can work with the schema as it is."""
    with database.read() as connection:
        at = current(connection)
    needed = target(None, "expand")
    if not (at and _is_newer(at)) and _position(at) < _position(needed):
        raise PipelineError(
            f"the catalog's schema is at {at or 'nothing'}, this version of the service needs {needed}",
            hint="./inv service.db-upgrade",
        )


def prepare(database: Database, *, embedded: bool) -> None:
    """Prepare the database at the service's start: upgrade the embedded one, check any other."""
    if embedded:
        database.file.parent.mkdir(parents=True, exist_ok=True)
        upgrade(database)
    else:
        check(database)


def _position(revision: str | None) -> int:
    return [None, *(script.revision for script in revisions())].index(revision)


def _is_newer(revision: str) -> bool:
    """Whether a newer version made the schema, by additions alone. Raises ``PipelineError`` if it took things away."""
    names = [script.revision for script in revisions()]
    if revision in names:
        return False
    if re.fullmatch(r"\d{4}(-\d+)?", revision) and contractions(revision) <= contractions(names[-1]):
        return True
    raise PipelineError(
        f"the catalog's schema is at {revision}, which a newer version of the service made",
        hint="run that version, or restore a backup from before its upgrade",
    )


def contractions(revision: str) -> int:
    """Return how many contracting revisions there are up to ``revision``, by its name."""
    return int(revision.partition("-")[2] or 0)


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    """Only one process upgrades a database at a time."""
    if database.is_sqlite:
        file = database.file.with_name(database.file.name + ".upgrade-lock")
        with locks.held(file, "upgrading the catalog's schema", wait=math.inf):
            yield
        return
    with database.connected() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        if database.dialect == "postgresql":
            take, give = f"SELECT pg_advisory_lock({_LOCK_NUMBER})", f"SELECT pg_advisory_unlock({_LOCK_NUMBER})"
        else:
            take, give = f"SELECT GET_LOCK('{_LOCK_NAME}', 3600)", f"SELECT RELEASE_LOCK('{_LOCK_NAME}')"
        connection.exec_driver_sql(take)
        try:
            yield
        finally:
            connection.exec_driver_sql(give)
