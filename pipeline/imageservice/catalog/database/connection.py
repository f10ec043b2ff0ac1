"""Connect to the database: one engine per process, reads on a snapshot, writes that wait their turn.

SQLite (write-ahead log, every commit on disk), PostgreSQL and MariaDB behave alike here: a read sees one moment, a
write locks what it will change before it looks at it, and a write that the database broke off to end a deadlock is
made again.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    DBAPIError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from pipeline.base.errors import PipelineError
from pipeline.base.retry import RetryPolicy
from pipeline.imageservice.catalog.database import filesystem
from pipeline.imageservice.catalog.database.refusal import refusal
from pipeline.imageservice.catalog.database.turns import WriteTurns, writing_for
from pipeline.imageservice.errors import Invalid, Unavailable

Result = TypeVar("Result")

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mariadb+pymysql",
    "mariadb": "mariadb+pymysql",
}
_RETRIES = RetryPolicy(attempts=8, first=0.01, jitter=1.0)  # two that broke each other off must not meet again
# PostgreSQL: serialization failure, deadlock. MariaDB: lock wait timeout, deadlock, record changed since last read.
_SQLSTATES_TO_REPEAT = {"40001", "40P01"}
_CODES_TO_REPEAT = {1205, 1213, 1020}
_STATES_OF_REFUSAL = {"42501", "25006"}  # no right, a server that only reads


def parse_url(text: str) -> URL:
    """Return ``text`` as a database URL with our driver for it. Raises ``PipelineError`` for a kind that is not
    supported.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        raise PipelineError(
            "the database URL cannot be read",
            hint="write sqlite:////folder/file.db, postgresql://user:password@host/name or mariadb://…",
        ) from None
    kind = url.get_backend_name()
    if kind not in _DRIVERS:
        raise PipelineError(
            f"databases of the kind {kind!r} are not supported", hint="use SQLite, PostgreSQL or MariaDB"
        )
    if "@" in (url.host or ""):
        raise PipelineError(  # a part of the password would be taken, and shown, for the host
            "the database URL has more than one @", hint="write an @ in the user's name or the password as %40"
        )
    url = url.set(drivername=_DRIVERS[kind])
    if kind == "sqlite" and not url.database:
        raise PipelineError("a database in memory is not kept: give SQLite a file", hint="sqlite:////folder/file.db")
    return url


class Database:
    """One database. Cheap to make; the engine comes with the first use in each process (so after a fork).

    ``lock_timeout`` is how long, in seconds, a write waits for others; ``connections`` bounds those of one process.
    """

    def __init__(self, url: str | URL, *, connections: int = 16, lock_timeout: float = 60.0) -> None:
        self.url = parse_url(url) if isinstance(url, str) else url
        self._connections = connections
        self._lock_timeout = lock_timeout
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._process = 0
        self._turn: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded kind of database: one file, one writer at a time."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def dialect(self) -> str:
        """``sqlite``, ``postgresql`` or ``mariadb``."""
        return self.url.get_backend_name()

    @property
    def file(self) -> Path:
        """SQLite's file."""
        assert self.is_sqlite and self.url.database  # noqa: S101 - a programmer's mistake, not a user's
        return Path(self.url.database)

    @property
    def engine(self) -> Engine:
        """The process's engine."""
        if self._engine is None or self._process != os.getpid():
            with self._lock:
                if self._engine is None or self._process != os.getpid():
                    self._engine = self._make_engine()
                    self._turn = WriteTurns(self.file, self._lock_timeout).held if self.is_sqlite else nullcontext
                    self._process = os.getpid()
        return self._engine

    def check(self) -> None:
        """Raise ``Unavailable`` unless the database answers."""
        with self.read() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))

    def close(self) -> None:
        """Close the connections that are not in use, and the files of turns. The next use opens others."""
        with self._lock:
            if self._engine is not None and self._process == os.getpid():
                self._engine.dispose()
                self._engine, self._turn = None, nullcontext

    @contextmanager
    def connected(self, may_repeat: bool = False) -> Iterator[Connection]:
        """Open a connection. Raises ``CatalogUnavailable``, which has the cause in words, when there is none, or what
        is asked of it is refused.
        """
        with _as_service_errors(self.url, may_repeat):
            try:
                connection = self.engine.connect()
            except (SQLAlchemyError, PipelineError):
                raise
            except Exception as error:  # drivers raise anything about options, certificates and libraries
                raise refusal(error, self.url) from error
            with connection:
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection whose statements all see the same moment."""
        with self.connected() as connection:
            if self.dialect == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            elif self.dialect == "mariadb":
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield connection

    def write_for(self, project: str | None) -> None:
        """Let what this thread writes from now on count as ``project``'s, where writers take turns."""
        writing_for.set(project or "")

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Run ``work`` in one transaction and return what it returns.

        It is made again when the database broke it off in favour of another one, so it must not do anything
        outside the database. Raises ``Unavailable`` when the database does not answer, or not in time.
        """
        assert self.engine  # noqa: S101 - which makes the turns, too
        for attempt in _RETRIES.tries():
            try:
                with self._turn(), self.connected(attempt < _RETRIES.attempts) as connection:
                    if self.is_sqlite:
                        connection = connection.execution_options(begin="IMMEDIATE")
                    with connection.begin():
                        return work(connection)
            except _Again:
                continue
        raise AssertionError("the last attempt raises what it met")

    def _make_engine(self) -> Engine:
        options: dict[str, Any] = {
            "pool_size": self._connections,
            "max_overflow": 0,
            "pool_timeout": self._lock_timeout,
            "json_serializer": _dumps,
            "future": True,
        }
        if self.is_sqlite:
            filesystem.refuse_network(self.file.parent)
            filesystem.close_to_others(self.file)
            options["poolclass"] = sqlalchemy.QueuePool
            options["connect_args"] = {
                "check_same_thread": False,
                "timeout": self._lock_timeout,
                "isolation_level": None,
            }
        elif self.dialect == "postgresql":
            options["connect_args"] = {"connect_timeout": 10, "options": "-c timezone=UTC"}
            options["pool_pre_ping"] = True
        else:
            options["connect_args"] = {
                "connect_timeout": 10,
                "charset": "utf8mb4",
                "sql_mode": "STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES",
            }
            options["pool_pre_ping"] = True
        engine = sqlalchemy.create_engine(self.url, **options)
        if self.is_sqlite:
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        elif self.dialect == "mariadb":
            event.listen(engine, "connect", _prepare_mariadb)
        return engine


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "cache_size=-32768",
        "mmap_size=268435456",
        "journal_size_limit=67108864",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _prepare_mariadb(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION time_zone = '+00:00'")
        # The default locks the gaps between rows too, which makes deadlocks of harmless neighbours.
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")


def _begin_sqlite(connection: Connection) -> None:
    kind = connection.get_execution_options().get("begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {kind}")


class _Again(Exception):
    """The database broke the transaction off; it may be made again."""


@contextmanager
def _as_service_errors(url: URL, may_repeat: bool = False) -> Iterator[None]:
    """Turn the errors of the database ``url`` into the service's; programming errors pass."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable("The image catalog is busy; try again", detail=str(error)) from None
    except DataError as error:
        # The API checks values before they get here; this is the net below it (NUL, too long, out of range).
        raise Invalid("A value cannot be stored: it is too long, out of range, or holds a NUL character") from error
    except (OperationalError, InterfaceError) as error:
        if may_repeat and _was_broken_off(error):
            raise _Again from error
        raise refusal(error.orig or error, url) from error
    except DatabaseError as error:
        # A right that is missing is a programming error in PostgreSQL, a damaged file none of its kinds in SQLite.
        if getattr(error.orig, "sqlstate", None) in _STATES_OF_REFUSAL or type(error) is DatabaseError:
            raise refusal(error.orig or error, url) from error
        raise


def _was_broken_off(error: DBAPIError) -> bool:
    if getattr(error.orig, "sqlstate", None) in _SQLSTATES_TO_REPEAT:
        return True
    arguments: Sequence[object] = getattr(error.orig, "args", ())
    return bool(arguments) and arguments[0] in _CODES_TO_REPEAT
