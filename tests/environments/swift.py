"""OpenStack's object store on one node, as it comes from its own package: for its own API and for its S3 API.

Two ways to log in: ``tempauth`` (user ``test:tester``, key ``testing``) and Keystone (user ``glance`` in project
``service``, see ``keystone``); each has accounts of its own.
"""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from pipeline.host.system import process
from tests.environments.daemon import as_nobody, daemon, free_port, listens, program, scratch, wait_until
from tests.environments.keystone import Keystone
from tests.environments.venv import Environment, environment

USER = "test:tester"
KEY = "testing"

_SWIFT = """
[swift-hash]
swift_hash_path_prefix = p
swift_hash_path_suffix = s
[storage-policy:0]
name = gold
default = yes
"""

_STORAGE = """
[DEFAULT]
devices = {folder}/devices
mount_check = false
bind_ip = 127.0.0.1
bind_port = {port}
workers = {workers}
swift_dir = {folder}
user = {user}
disable_fallocate = true
fallocate_reserve = 0
conn_timeout = 10
node_timeout = 60
client_timeout = 120
# Listings must be true at once: nobody mends them later.
container_update_timeout = 60
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

_PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 2
swift_dir = {folder}
user = {user}
client_timeout = 120
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk tempurl s3api authtoken keystoneauth \
tempauth copy slo dlo versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
conn_timeout = 10
node_timeout = 60
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin .reseller_admin
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
delay_auth_decision = true
{authtoken}
[filter:keystoneauth]
use = egg:swift#keystoneauth
reseller_prefix = KEY
operator_roles = admin, service
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:slo]
use = egg:swift#slo
# Else reading many small segments is slowed down to one a second.
rate_limit_under_size = 0
"""
_PLAIN_FILTERS = (
    "catch_errors", "gatekeeper", "healthcheck", "listing_formats", "bulk", "tempurl", "copy", "dlo",
    "versioned_writes", "symlink",
)  # fmt: skip


@dataclass(frozen=True)
class Swift:
    """A running object store; ``url`` is its S3 endpoint too."""

    url: str

    @property
    def tempauth(self) -> str:
        """Where to log in with ``USER`` and ``KEY``, version 1."""
        return f"{self.url}/auth/v1.0"


@contextlib.contextmanager
def swift(keystone: Keystone) -> Iterator[Swift]:
    """Run the object store, known to ``keystone``; ready in about five seconds once its environment is made."""
    memcached = program("memcached", "memcached")
    programs = environment("swift")
    with scratch("swift") as folder, contextlib.ExitStack() as servers:
        cache, proxy = free_port(), free_port()
        (folder / "devices" / "d1").mkdir(parents=True)
        (folder / "swift.conf").write_text(_SWIFT)
        words: list[str | Path] = [*as_nobody(), memcached, "-l", "127.0.0.1", "-p", str(cache), "-U", "0", "-m", "64"]
        servers.enter_context(daemon(words, ready=lambda: listens(cache), log=folder / "memcached.log"))
        for kind in ("account", "container", "object"):
            port = free_port()
            _make_ring(programs, folder, kind, port)
            conf = _STORAGE.format(
                folder=folder, port=port, kind=kind, workers=2 if kind == "object" else 1, user=getpass.getuser()
            )
            servers.enter_context(_server(programs, folder, kind, port, conf))
        authtoken = "\n".join(f"{name} = {value}" for name, value in keystone.authtoken.items())
        conf = _PROXY.format(folder=folder, port=proxy, memcached=cache, authtoken=authtoken, user=getpass.getuser())
        conf += "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in _PLAIN_FILTERS)
        servers.enter_context(_server(programs, folder, "proxy", proxy, conf))
        running = Swift(f"http://127.0.0.1:{proxy}")
        wait_until(lambda: _healthy(running), "the object store answers")
        keystone.set_endpoint("object-store", f"{running.url}/v1/KEY_%(tenant_id)s")
        yield running


def _server(
    programs: Environment, folder: Path, kind: str, port: int, conf: str
) -> contextlib.AbstractContextManager[object]:
    file = folder / f"{kind}.conf"
    file.write_text(conf)
    # "verbose" is the word that makes it log to us.
    command: list[str | Path] = [programs.program(f"swift-{kind}-server"), file, "verbose"]
    env = {"SWIFT_DIR": str(folder), "PYTHONWARNINGS": "ignore"}
    return daemon(command, ready=lambda: listens(port), log=folder / f"{kind}.log", env=env)


def _make_ring(programs: Environment, folder: Path, kind: str, port: int) -> None:
    builder: list[str | Path] = [programs.program("swift-ring-builder"), folder / f"{kind}.builder"]
    process.run([*builder, "create", "4", "1", "1"])
    process.run([*builder, "add", f"r1z1-127.0.0.1:{port}/d1", "1"])
    process.run([*builder, "rebalance"])


def _healthy(running: Swift) -> bool:
    try:
        return requests.get(f"{running.url}/healthcheck", timeout=10).ok
    except requests.ConnectionError:
        return False
