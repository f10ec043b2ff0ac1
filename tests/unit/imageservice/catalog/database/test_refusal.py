"""What drivers say of a database that answers, and not as it should; real ones are in the integration tests."""

from __future__ import annotations

import psycopg
import pymysql
import pytest
import sqlalchemy

from pipeline.imageservice.catalog.database.refusal import explain


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (pymysql.OperationalError(1205, "Lock wait timeout exceeded; try restarting transaction"), "mariadb"),
        (pymysql.OperationalError(1213, "Deadlock found when trying to get lock"), "mariadb"),
        (pymysql.OperationalError(1020, "Record has changed since last read in table 'images'"), "mariadb"),
        (psycopg.errors.SerializationFailure("could not serialize access due to concurrent update"), "postgresql"),
        (psycopg.errors.DeadlockDetected("deadlock detected"), "postgresql"),
        (psycopg.errors.LockNotAvailable("canceling statement due to lock timeout"), "postgresql"),
        (psycopg.errors.QueryCanceled("canceling statement due to statement timeout"), "postgresql"),
    ],
)
def test_one_that_is_busy_is_not_called_down(error: Exception, kind: str) -> None:
    cause, action, _ = explain(error, sqlalchemy.make_url(f"{kind}://user:secret@db/image"))
    assert "is busy with other changes" in cause
    assert action.startswith("try again")
