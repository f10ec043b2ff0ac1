"""The key manager of OpenStack, as it comes from its own package, behind the tests' Keystone.

Certificates are stored in it and fetched from it as Nova and Glance do it: with castellan and a token.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from pipeline.host.system import process
from tests.environments.daemon import daemon, free_port, scratch
from tests.environments.keystone import PASSWORD, Keystone
from tests.environments.venv import environment

_CONF = """
[DEFAULT]
host_href = {url}
transport_url = fake://
db_auto_create = false
[database]
connection = sqlite:///{folder}/barbican.sqlite
[secretstore]
enabled_secretstore_plugins = store_crypto
[crypto]
enabled_crypto_plugins = simple_crypto
[simple_crypto_plugin]
kek = YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=
[queue]
enable = false
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
username = glance
password = {password}
project_name = service
user_domain_name = Default
project_domain_name = Default
"""

_PASTE = """
[composite:main]
use = egg:Paste#urlmap
/: barbican_version
/v1: barbican_api
[pipeline:barbican_version]
pipeline = versionapp
[pipeline:barbican_api]
pipeline = request_id authtoken context microversion apiapp
[app:apiapp]
paste.app_factory = barbican.api.app:create_main_app
[app:versionapp]
paste.app_factory = barbican.api.app:create_version_app
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
[filter:request_id]
paste.filter_factory = oslo_middleware:RequestId.factory
[filter:context]
paste.filter_factory = barbican.api.middleware.context:ContextMiddleware.factory
[filter:microversion]
paste.filter_factory = barbican.api.middleware.microversion:MicroversionMiddleware.factory
"""

_WSGI = """
from paste import deploy
application = deploy.loadapp("config:{folder}/paste.ini", name="main")
"""


@dataclass(frozen=True)
class Barbican:
    """A running key manager; ``url`` has no version."""

    url: str


@contextlib.contextmanager
def barbican(keystone: Keystone) -> Iterator[Barbican]:
    """Run Barbican; the user ``demo`` may store and read secrets of its project."""
    programs = environment("barbican")
    with scratch("barbican") as folder:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        conf = folder / ".barbican" / "barbican.conf"
        conf.parent.mkdir()
        text = _CONF.format(url=url, folder=folder, keystone=keystone.url, password=PASSWORD)
        conf.write_text(text)
        (folder / "paste.ini").write_text(_PASTE)
        (folder / "wsgi.py").write_text(_WSGI.format(folder=folder))
        # barbican-manage takes no --config-file; it looks in the home folder.
        home = {"HOME": str(folder), "PYTHONWARNINGS": "ignore"}
        _upgrade(programs.program("barbican-manage"), home)
        _grant(keystone, "demo", "creator")
        server = daemon(
            [programs.program("gunicorn"), "-b", f"127.0.0.1:{port}", "-w", "1", "--threads", "4", "wsgi:application"],
            ready=lambda: _answers(url),
            log=folder / "log",
            cwd=folder,
            env=home,
        )
        with server, keystone.endpoint("key-manager", url):
            yield Barbican(url)


def _grant(keystone: Keystone, user: str, role: str) -> None:
    with keystone.connect("admin") as admin:
        identity = admin.identity
        wanted = identity.find_role(role) or identity.create_role(name=role)
        project, person = identity.find_project(user), identity.find_user(user)
        identity.assign_project_role_to_user(project, person, wanted)


def _upgrade(program: Path, home: dict[str, str]) -> None:
    process.run([program, "db", "upgrade"], env=home, cwd=Path(home["HOME"]))


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).status_code in (200, 300)
    except requests.RequestException:
        return False
