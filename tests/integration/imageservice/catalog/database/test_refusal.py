"""Databases that refuse: real ones, in words, at the start, in each command and while the service runs."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from falcon import testing

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT
from pipeline.cli.handlers import catalog, imageservice, metadefs, stores
from pipeline.host.system import process
from pipeline.imageservice.app import create_app
from pipeline.imageservice.catalog.database import migrate
from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.lifecycle import other_catalog
from pipeline.imageservice.service import Service
from pipeline.imageservice.settings import Settings
from tests.environments.daemon import free_port

PASSWORD = "s3cret-of-ours"


@dataclass(frozen=True)
class Guarded:
    """A database with a user ``image`` who has a password and may connect, and do no more."""

    kind: str
    url: sqlalchemy.URL

    def run(self, *statements: str) -> None:
        """Do something as the administrator."""
        engine = sqlalchemy.create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def of(self, **changed: Any) -> str:
        """The URL as ``image`` knows it, with changes."""
        scheme = {"postgresql": "postgresql", "mariadb": "mariadb"}[self.kind]
        url = self.url.set(drivername=scheme, username="image", password=PASSWORD, query={}).set(**changed)
        return url.render_as_string(hide_password=False)

    def grant(self) -> None:
        """Give the user its rights."""
        name = self.url.database
        if self.kind == "postgresql":
            self.run("grant all on schema public to image")
        else:
            self.run(f"grant all on {name}.* to image@'127.0.0.1'")

    def shut_out(self) -> None:
        """Change the password, and end the connections there are."""
        if self.kind == "postgresql":
            self.run(
                "alter role image password 'another'",
                "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'image'",
            )
        else:
            self.run("alter user image@'127.0.0.1' identified by 'another'", "kill user image")


@pytest.fixture(params=["postgresql", "mariadb"])
def guarded(request: pytest.FixtureRequest) -> Iterator[Guarded]:
    kind = request.param
    with request.getfixturevalue(f"{kind}_server").database() as text:
        made = Guarded(kind, sqlalchemy.make_url(text))
        who = "image" if kind == "postgresql" else "image@'127.0.0.1'"
        if kind == "postgresql":
            made.run(f"create role image login password '{PASSWORD}'", "create role outcast login")
        else:
            made.run(f"create user {who} identified by '{PASSWORD}'")
            made.run(f"grant select on {made.url.database}.* to {who}")
        try:
            yield made
        finally:
            if kind == "postgresql":
                made.run("revoke all on schema public from image", "drop role outcast")
                made.run("drop owned by image cascade", "drop role image")
            else:
                made.run(f"drop user {who}")


pytestmark = pytest.mark.server
EITHER = {"postgresql", "mariadb"}
CASES: dict[str, tuple[set[str], dict[str, Any], str, str]] = {
    "password": (EITHER, {"password": f"{PASSWORD}-not"}, "refuses user image", "user and password in `database.url`"),
    "nobody": (EITHER, {"username": "nobody"}, "refuses user nobody", "user and password"),
    "outcast": ({"postgresql"}, {"username": "outcast"}, "does not let user outcast in", "pg_hba.conf"),
    "name": ({"postgresql"}, {"database": "elsewhere"}, "has no database elsewhere", "create it"),
    "right": ({"mariadb"}, {"database": "elsewhere"}, "does not let user image work with", "grant"),
    "down": (EITHER, {"port": 1}, "does not answer", "host and port in `database.url`"),
    "host": (EITHER, {"host": "db.invalid"}, "no address is known for db.invalid", "mend the host"),
    "tls": ({"postgresql"}, {"query": {"sslmode": "require"}}, "agree on no TLS", "sslmode"),
    "authority": (
        EITHER,
        {"query": {"sslmode": "verify-full", "sslrootcert": "/nowhere/ca.pem"}},
        "TLS",
        "database.url",
    ),
}


def wrong(guarded: Guarded, case: str) -> tuple[str, str, str]:
    _, changed, cause, action = CASES[case]
    if case == "authority" and guarded.kind == "mariadb":
        changed, cause = {"query": {"ssl_ca": "/nowhere/ca.pem"}}, "cannot be used"
    return guarded.of(**changed), cause, action


@pytest.mark.parametrize(
    ("guarded", "case"), [(kind, case) for case in CASES for kind in sorted(CASES[case][0])], indirect=["guarded"]
)
def test_the_cause_is_said_in_words(guarded: Guarded, case: str) -> None:
    url, cause, action = wrong(guarded, case)
    database = Database(url)
    acts: list[Callable[[], object]] = [
        database.check,
        lambda: database.write(lambda connection: None),
        lambda: migrate.check(database),
        lambda: migrate.upgrade(database),
    ]
    for act in acts:
        with pytest.raises(PipelineError) as caught:
            act()
        full = caught.value.in_full()
        assert cause in full.message
        assert full.hint is not None
        assert action in full.hint
        told = f"{full} {caught.value} {getattr(caught.value, 'detail', '')}"
        assert PASSWORD not in told
        assert guarded.kind.lower() in full.message.lower()
        assert caught.value.message == "The image catalog does not answer now; try again"  # all that clients learn
    with pytest.raises(PipelineError) as caught, other_catalog.opened(url, {"images": ()}):
        pass
    assert cause in caught.value.message
    assert PASSWORD not in str(caught.value)


def test_rights_that_are_missing(guarded: Guarded) -> None:
    with pytest.raises(PipelineError) as caught:
        migrate.upgrade(Database(guarded.of()))
    full = caught.value.in_full()
    assert "does not let user image work with the database" in full.message
    assert full.hint is not None
    assert "grant" in full.hint
    guarded.grant()
    assert migrate.upgrade(Database(guarded.of()))[0] is None


@pytest.fixture
def quiet() -> Iterator[None]:
    """Take back what commands do to the log of this process."""
    before = {name: logging.getLogger(name).level for name in (None, "imageservice", "imageservice.events", "alembic")}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


COMMANDS: dict[str, Callable[[str, Path], object]] = {
    "serve": lambda file, folder: imageservice.serve(file),
    "start": lambda file, folder: imageservice.start(file),
    "db-upgrade": lambda file, folder: catalog.upgrade(file, expand=False),
    "backup": lambda file, folder: catalog.backup(file, str(folder / "backup")),
    "adopt": lambda file, folder: catalog.adopt(file, "sqlite:////nowhere/glance.db", apply=False, renamed=()),
    "reconcile": lambda file, folder: imageservice.reconcile(file),
    "scrub": lambda file, folder: imageservice.scrub(file),
    "scrub --restore": lambda file, folder: imageservice.scrub(file, restore="x"),
    "stores": lambda file, folder: stores.show(file),
    "migrate": lambda file, folder: stores.migrate(file, "main", "mirror"),
    "metadefs.load": lambda f, folder: metadefs.load(f, "", merge=False, prefer_new=False, overwrite=False),
    "metadefs.export": lambda file, folder: metadefs.export(file, str(folder / "out")),
    "metadefs.unload": lambda file, folder: metadefs.unload(file),
}


def settings_file(folder: Path, url: str) -> Path:
    file = folder / "settings.yaml"
    listen = f"127.0.0.1:{free_port()}"
    file.write_text(json.dumps({"folder": str(folder / "state"), "listen": listen, "database": {"url": url}}))
    return file


@pytest.mark.usefixtures("quiet")
def test_every_command_says_it(guarded: Guarded, tmp_path: Path) -> None:
    for case in ("password", "down"):
        url, cause, action = wrong(guarded, case)
        file = settings_file(tmp_path, url)
        for name, command in COMMANDS.items():
            with pytest.raises(PipelineError) as caught:
                command(str(file), tmp_path)
            full = caught.value.in_full()
            assert cause in full.message, name
            assert action in (full.hint or ""), name
            assert PASSWORD not in str(full), name


@pytest.mark.parametrize("guarded", ["postgresql"], indirect=True)
def test_what_a_person_sees(guarded: Guarded, tmp_path: Path) -> None:
    file = settings_file(tmp_path, wrong(guarded, "password")[0])
    for words in (["pipeline.cli", "service.db-upgrade"], ["pipeline.imageservice.serve"]):
        ended = process.run(
            [sys.executable, "-m", *words, "--settings", file],
            cwd=CHECKOUT,
            env={"PIPELINE_HOME": str(tmp_path)},
            check=False,
        )
        assert ended.status == 1
        assert "refuses user image" in ended.stderr
        assert "hint: mend user and password" in ended.stderr
        assert not {"Traceback", "bug", PASSWORD} & set(ended.stderr.split())


def test_while_it_runs_clients_are_told_to_come_again(
    guarded: Guarded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    guarded.grant()
    settings = Settings.load(settings_file(tmp_path, guarded.of()))
    settings.folder.mkdir()
    service = Service.from_settings(settings)
    migrate.upgrade(service.database)
    client = testing.TestClient(create_app(service))
    token = {"X-Auth-Token": (settings.folder / "token").read_text().strip(), "Accept": "application/json"}
    assert client.simulate_get("/v2/images", headers=token).status_code == 200
    guarded.shut_out()
    with caplog.at_level(logging.INFO, "imageservice.access"):
        for method, path in (("GET", "/v2/images"), ("POST", "/v2/images"), ("GET", "/v2/metadefs/namespaces")):
            answer = client.simulate_request(method, path, headers=token, body="{}" if method == "POST" else "")
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"]
            assert answer.json["message"] == "The image catalog does not answer now; try again"
    assert client.simulate_get("/healthcheck").status_code == 503
    lines = [record.getMessage() for record in caplog.records if record.name == "imageservice.access"]
    assert len(lines) == 3
    for line in lines:
        assert "refuses user image" in line
        assert "mend user and password" in line
    assert PASSWORD not in caplog.text
    service.database.close()


@pytest.mark.parametrize(
    "url",
    ["postgresql://image:s3cret@of-ours@db/image", "mariadb://image:s3cret@db:port/image", "s3cret", "s3cret://x/y"],
)
def test_urls_that_cannot_be_read_are_not_shown(url: str) -> None:
    with pytest.raises(PipelineError) as caught:
        Database(url)
    assert "of-ours" not in str(caught.value)
    assert caught.value.hint
