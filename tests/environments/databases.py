"""PostgreSQL and MariaDB, each as a private server on loopback that ends with the block.

``Server.database()`` gives a test an empty database of its own. The user ``image`` needs its password there
(PostgreSQL), and ``outcast`` is let in from nowhere; tests that want them create them. Servers run without fsync,
which makes them fast and is harmless unless the test kills the server: ask for ``durable=True`` then.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy

from pipeline.host.system import process
from tests.environments.daemon import as_nobody, daemon, free_port, listens, program, scratch


@dataclass(frozen=True)
class Server:
    """A database server; ``base`` is the SQLAlchemy URL of its administrative database."""

    kind: str
    base: sqlalchemy.URL
    _serial: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    def answers(self) -> bool:
        """Whether it takes a connection now."""
        engine = sqlalchemy.create_engine(self.base, poolclass=sqlalchemy.NullPool)
        try:
            engine.connect().close()
        except sqlalchemy.exc.OperationalError:
            return False
        return True

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new, empty database, dropped at the end whoever is still connected to it."""
        name = f"test{next(self._serial)}"
        create, drop = {
            "postgresql": (f'create database "{name}"', f'drop database if exists "{name}" with (force)'),
            "mariadb": (f"create database `{name}` character set utf8mb4", f"drop database if exists `{name}`"),
        }[self.kind]
        engine = sqlalchemy.create_engine(self.base, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(create))
        try:
            yield self.base.set(database=name).render_as_string(hide_password=False)
        finally:
            with engine.connect() as connection:
                connection.execute(sqlalchemy.text(drop))


@contextlib.contextmanager
def postgresql(*, durable: bool = False) -> Iterator[Server]:
    """A PostgreSQL server of the newest version installed."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    initdb = program("initdb", "postgresql", folders=versions)
    with scratch("postgresql") as folder:
        data, log, port = folder / "data", folder / "log", free_port()
        user = as_nobody(folder)
        process.run([*user, initdb, "-D", data, "-U", "service", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"])
        rules = data / "pg_hba.conf"
        rules.write_text("host all image all scram-sha-256\nhost all outcast all reject\n" + rules.read_text())
        options = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": str(folder)}
        if not durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        command: list[str | Path] = [*user, initdb.with_name("postgres"), "-D", data, *settings]
        # SIGINT is its "fast shutdown": ends clients and removes its shared memory.
        server = Server("postgresql", _url("postgresql+psycopg", port, "postgres"))
        # It takes connections, and refuses them, while it is still starting.
        with daemon(command, ready=lambda: listens(port) and server.answers(), log=log, stop=signal.SIGINT):
            yield server


@contextlib.contextmanager
def mariadb(*, durable: bool = False) -> Iterator[Server]:
    """A MariaDB server."""
    install = program("mariadb-install-db", "mariadb-server")
    server = program("mariadbd", "mariadb-server")
    with scratch("mariadb") as folder:
        data, log, port, temporary = folder / "data", folder / "log", free_port(), folder / "tmp"
        temporary.mkdir()
        user = as_nobody(folder, temporary)
        # Each begins with removing all temporary tables that it finds, also those of another that just begins.
        common = ["--no-defaults", f"--datadir={data}", f"--tmpdir={temporary}"]
        process.run([*user, install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"])
        options = [f"--socket={folder}/socket", "--bind-address=127.0.0.1", f"--port={port}", "--skip-name-resolve"]
        if not durable:
            options += ["--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync"]
        with daemon([*user, server, *common, *options], ready=lambda: listens(port), log=log):
            _mariadb_user(program("mariadb", "mariadb-client"), folder)
            yield Server("mariadb", _url("mysql+pymysql", port, "mysql", charset="utf8mb4"))


def _mariadb_user(client: Path, folder: Path) -> None:
    grant = b"create user service@'127.0.0.1'; grant all on *.* to service@'127.0.0.1' with grant option;"
    process.run([client, "--no-defaults", f"--socket={folder}/socket", "-u", "root"], stdin=grant)


def _url(driver: str, port: int, database: str, **query: str) -> sqlalchemy.URL:
    return sqlalchemy.URL.create(driver, "service", host="127.0.0.1", port=port, database=database, query=query)
