"""The identity service of OpenStack, as it comes from its own package, with projects, users and roles for tests.

| user | project | roles |
|---|---|---|
| admin | admin | admin |
| demo | demo | member |
| reader | demo | reader |
| alt | alt | member |
| glance | service | service, admin |

Every password is ``PASSWORD``. The server is one process with one thread, because its SQLite database answers "database
is locked" to concurrent writers.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openstack
import requests
from openstack.connection import Connection

from pipeline.host.system import process
from tests.environments.daemon import daemon, free_port, scratch
from tests.environments.venv import Environment, environment

PASSWORD = "for-tests-only"
REGION = "RegionOne"

_ASSIGNMENTS = (
    ("demo", "demo", "member"),
    ("reader", "demo", "reader"),
    ("alt", "alt", "member"),
    ("glance", "service", "service"),
    ("glance", "service", "admin"),
)

_CONF = """
[database]
connection = sqlite:///{folder}/keystone.sqlite
[token]
provider = fernet
expiration = {token_seconds}
[fernet_tokens]
key_repository = {folder}/fernet_tokens
[fernet_receipts]
key_repository = {folder}/fernet_receipts
[credential]
key_repository = {folder}/credential
[cache]
enabled = true
backend = dogpile.cache.memory
[identity]
# The least it takes: a hundred password checks a minute would otherwise be the tests' main work.
password_hash_rounds = 4
"""

# By a file, since the application itself reads the command line as its own.
_GUNICORN = """
bind = "127.0.0.1:{port}"
workers = 1
worker_class = "sync"
timeout = 120
control_socket_disable = True
wsgi_app = "keystone.wsgi.api:application"
"""


@dataclass(frozen=True)
class Keystone:
    """A running identity service; ``url`` is its versioned endpoint."""

    url: str

    def variables(self, user: str = "demo", project: str | None = None) -> dict[str, str]:
        """The ``OS_*`` environment variables with which a client is ``user``."""
        return {
            "OS_AUTH_TYPE": "password",
            "OS_AUTH_URL": self.url,
            "OS_USERNAME": user,
            "OS_PASSWORD": PASSWORD,
            "OS_PROJECT_NAME": project or _home(user),
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
            "OS_REGION_NAME": REGION,
            "OS_IDENTITY_API_VERSION": "3",
        }

    def connect(self, user: str = "demo", project: str | None = None) -> Connection:
        """An openstacksdk connection as ``user``."""
        return openstack.connect(
            load_yaml_config=False,
            load_envvars=False,
            auth_type="password",
            auth={
                "auth_url": self.url,
                "username": user,
                "password": PASSWORD,
                "project_name": project or _home(user),
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
            region_name=REGION,
        )

    def token(self, user: str = "demo", project: str | None = None) -> str:
        """A token of ``user``, scoped to ``project``."""
        with self.connect(user, project) as connection:
            return str(connection.auth_token)

    def short_token(self, seconds: float, user: str = "demo") -> str:
        """A token of ``user`` that ends after ``seconds``: a token lives no longer than its application credential."""
        ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
        with self.connect(user) as connection:
            credential = connection.identity.create_application_credential(
                user=connection.current_user_id,
                name=os.urandom(8).hex(),
                expires_at=ends.replace(tzinfo=None).isoformat(),
            )
        answer = requests.post(
            f"{self.url}/auth/tokens",
            json={
                "auth": {
                    "identity": {
                        "methods": ["application_credential"],
                        "application_credential": {"id": credential.id, "secret": credential.secret},
                    }
                }
            },
            timeout=30,
        )
        answer.raise_for_status()
        return answer.headers["X-Subject-Token"]

    def set_endpoint(self, kind: str, url: str) -> None:
        """Make ``url`` the service of type ``kind`` (``image``, ``object-store``) in the catalogue, the only one."""
        with self.connect("admin") as admin:
            for old in admin.identity.services(type=kind):
                admin.identity.delete_service(old)
            service = admin.identity.create_service(type=kind, name=kind)
            for interface in ("public", "internal", "admin"):
                admin.identity.create_endpoint(service_id=service.id, interface=interface, url=url, region_id=REGION)

    @contextlib.contextmanager
    def endpoint(self, kind: str, url: str) -> Iterator[None]:
        """As ``set_endpoint`` while the block runs; afterwards the catalogue is what it was."""
        with self.connect("admin") as admin:
            known = {service.id for service in admin.identity.services(type=kind)}
            before = [each.url for each in admin.identity.endpoints(interface="public") if each.service_id in known]
        self.set_endpoint(kind, url)
        try:
            yield
        finally:
            if before:
                self.set_endpoint(kind, before[0])

    @property
    def authtoken(self) -> dict[str, str]:
        """The options of keystonemiddleware's ``[keystone_authtoken]`` for the image service."""
        return {
            "www_authenticate_uri": self.url,
            "auth_url": self.url,
            "auth_type": "password",
            "username": "glance",
            "password": PASSWORD,
            "project_name": "service",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
            "service_token_roles": "service",
            "service_token_roles_required": "true",
        }


@contextlib.contextmanager
def keystone(token_seconds: int = 3600) -> Iterator[Keystone]:
    """Run Keystone with the users of this module's table; ready in about ten seconds once its environment is made.

    Its tokens live for ``token_seconds``.
    """
    programs = environment("keystone")
    with scratch("keystone") as folder:
        port = free_port()
        url = f"http://127.0.0.1:{port}/v3"
        (folder / "keystone.conf").write_text(_CONF.format(folder=folder, token_seconds=token_seconds))
        (folder / "gunicorn.conf.py").write_text(_GUNICORN.format(port=port))
        for repository in ("fernet_tokens", "fernet_receipts", "credential"):
            _make_keys(folder / repository)
        _manage(programs, folder, "db_sync")
        urls = [word for interface in ("public", "internal", "admin") for word in (f"--bootstrap-{interface}-url", url)]
        _manage(programs, folder, "bootstrap", "--bootstrap-password", PASSWORD, "--bootstrap-region-id", REGION, *urls)
        server = daemon(
            [programs.program("gunicorn")],
            ready=lambda: _answers(url),
            log=folder / "log",
            cwd=folder,
            env={"OS_KEYSTONE_CONFIG_DIR": str(folder), "PYTHONWARNINGS": "ignore"},
        )
        with server:
            running = Keystone(url)
            _fill(running)
            yield running


def _make_keys(repository: Path) -> None:
    """What ``keystone-manage fernet_setup`` does, without its two seconds: key 0 is the next one, key 1 the primary."""
    repository.mkdir(mode=0o700)
    for name in ("0", "1"):
        (repository / name).write_bytes(base64.urlsafe_b64encode(os.urandom(32)))


def _manage(programs: Environment, folder: Path, *words: str) -> None:
    command: list[str | Path] = [programs.program("keystone-manage"), "--config-file", folder / "keystone.conf", *words]
    process.run(command, cwd=folder, env={"PYTHONWARNINGS": "ignore"})


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).ok
    except (requests.ConnectionError, requests.Timeout):
        return False


def _home(user: str) -> str:
    return next((project for name, project, _ in _ASSIGNMENTS if name == user), user)


def _fill(server: Keystone) -> None:
    with server.connect("admin") as admin:
        identity = admin.identity
        roles = {role.name: role for role in identity.roles()}
        projects = {name: identity.create_project(name=name) for name in dict.fromkeys(row[1] for row in _ASSIGNMENTS)}
        users = {
            name: identity.create_user(name=name, password=PASSWORD)
            for name in dict.fromkeys(row[0] for row in _ASSIGNMENTS)
        }
        for user, project, role in _ASSIGNMENTS:
            identity.assign_project_role_to_user(projects[project], users[user], roles[role])
