"""The reference image service, as it comes from its own package, behind the test Keystone, with two file stores.

Publishing has to work with it as with the bundled service: through openstacksdk, and nothing else.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from pipeline.host.system import process
from tests.environments.daemon import daemon, free_port, scratch
from tests.environments.keystone import Keystone
from tests.environments.venv import Environment, environment

STORES = ("main", "mirror")

_CONF = """
[DEFAULT]
enabled_backends = main:file, mirror:file
enabled_import_methods = [glance-direct,web-download,copy-image]
node_staging_uri = file://{folder}/staging
log_file = {folder}/glance.log
[database]
connection = sqlite:///{folder}/glance.sqlite
[glance_store]
default_backend = main
[main]
filesystem_store_datadir = {folder}/main
[mirror]
filesystem_store_datadir = {folder}/mirror
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[paste_deploy]
flavor = keystone
config_file = {paste}
[keystone_authtoken]
{authtoken}
"""


@dataclass(frozen=True)
class Glance:
    """A running image service, which is also the one in Keystone's catalogue. ``folder`` holds its state."""

    url: str
    keystone: Keystone
    folder: Path

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of its database."""
        return f"sqlite:///{self.folder}/glance.sqlite"


@contextlib.contextmanager
def glance(keystone: Keystone) -> Iterator[Glance]:
    """Run Glance; ready in about ten seconds once its environment is made."""
    programs = environment("glance")
    with scratch("glance") as folder:
        port = free_port()
        for name in ("main", "mirror", "staging", "tasks"):
            (folder / name).mkdir()
        authtoken = "\n".join(f"{name} = {value}" for name, value in keystone.authtoken.items())
        paste = programs.folder / "etc" / "glance" / "glance-api-paste.ini"
        (folder / "glance-api.conf").write_text(_CONF.format(folder=folder, paste=paste, authtoken=authtoken))
        _make_database(programs, folder)
        url = f"http://127.0.0.1:{port}"
        server = daemon(
            [
                programs.program("gunicorn"),
                *("--bind", f"127.0.0.1:{port}", "--workers", "1", "--threads", "8"),
                "glance.wsgi.api:application",
            ],
            ready=lambda: _answers(url),
            log=folder / "log",
            cwd=folder,
            env={"OS_GLANCE_CONFIG_DIR": str(folder), "PYTHONWARNINGS": "ignore"},
        )
        with server:
            keystone.set_endpoint("image", url)
            yield Glance(url, keystone, folder)


def _make_database(programs: Environment, folder: Path) -> None:
    manage: list[str | Path] = [programs.program("glance-manage"), "--config-file", folder / "glance-api.conf"]
    process.run([*manage, "db_sync"], cwd=folder, env={"PYTHONWARNINGS": "ignore"})
    # Else readers and writers shut each other out: "database is locked".
    with contextlib.closing(sqlite3.connect(folder / "glance.sqlite")) as database:
        database.execute("PRAGMA journal_mode = WAL")


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).status_code == 300
    except requests.RequestException:  # not yet, or too busy to answer in time
        return False
