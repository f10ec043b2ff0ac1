"""The OpenStack community's own conformance suite: tempest's image tests and the image service's RBAC plugin.

They know nothing of this project: they test any image service through its catalogue entry, with users of their own.
"""

from __future__ import annotations

import configparser
import contextlib
import http.server
import os
import threading
import xml.etree.ElementTree as xml
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.host.system import process
from tests.environments.keystone import PASSWORD, REGION, Keystone
from tests.environments.venv import environment

SUITES = (r"^tempest\.api\.image", r"^glance_tempest_plugin\.")

_CONF = """
[DEFAULT]
log_file = {folder}/tempest.log
[oslo_concurrency]
lock_path = {folder}/locks
[auth]
use_dynamic_credentials = true
create_isolated_networks = false
admin_username = admin
admin_password = {password}
admin_project_name = admin
admin_domain_name = Default
default_credentials_domain_name = Default
[identity]
uri_v3 = {keystone}
auth_version = v3
region = {region}
[identity-feature-enabled]
api_v3 = true
[service_available]
glance = true
nova = false
cinder = false
neutron = false
swift = false
horizon = false
[enforce_scope]
glance = true
[image]
build_timeout = 60
http_image = {files}/image.raw
http_qcow2_image = {files}/image.qcow2
container_formats = bare,ami,ari,aki,ovf,ova
disk_formats = qcow2,raw,ami,ari,aki,vhd,vmdk,vdi,iso,vhdx
"""


@dataclass(frozen=True)
class Outcome:
    """What a run of the suite found, by the tests' full names."""

    passed: frozenset[str]
    skipped: Mapping[str, str]
    failed: Mapping[str, str]


@contextlib.contextmanager
def image_files(folder: Path) -> Iterator[str]:
    """Serve what the suite imports by URL: 65 kB of raw data, an empty QCOW2. Yields the URL they stand under."""
    root = folder / "files"
    root.mkdir(parents=True)
    (root / "image.raw").write_bytes(os.urandom(65_000))
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", root / "image.qcow2", "1M"])

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(root))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def run(
    keystone: Keystone,
    files: str,
    folder: Path,
    *,
    options: Mapping[str, Mapping[str, str]],
    exclude: Sequence[str] = (),
    only: Sequence[str] = SUITES,
    timeout: float = 1500,
) -> Outcome:
    """Run the tests matching ``only`` and not ``exclude`` against the image service in ``keystone``'s catalogue.

    ``files`` is what ``image_files`` yields; the service must be allowed to fetch from there.
    ``options`` are further sections of ``tempest.conf``: which features the service has. ``folder`` keeps everything
    the run leaves (``tempest.log`` has each request and answer).
    """
    programs = environment("tempest")
    packages = next(programs.folder.glob("lib/python3*/site-packages"))
    stestr = folder / "stestr.conf"
    stestr.write_text(f"[DEFAULT]\ntest_path={packages}/tempest/test_discover\ntop_dir={packages}\n")
    (folder / "exclude").write_text("\n".join(exclude) + "\n")
    conf = _CONF.format(folder=folder, keystone=keystone.url, password=PASSWORD, region=REGION, files=files)
    _write_conf(folder / "tempest.conf", conf, options)
    command: list[str | Path] = [programs.program("stestr"), "--config", stestr, "run", "--serial"]
    # Its status tells only whether all passed.
    process.run(
        [*command, "--exclude-list", folder / "exclude", "|".join(only)],
        cwd=folder,
        env={"TEMPEST_CONFIG_DIR": str(folder), "PYTHONWARNINGS": "ignore"},
        check=False,
        timeout=timeout,
    )
    pipe = '"$0" --config "$1" last --subunit | "$2"'
    report: list[str | Path] = [
        "sh",
        "-c",
        pipe,
        programs.program("stestr"),
        stestr,
        programs.program("subunit2junitxml"),
    ]
    return _outcome(process.run(report, cwd=folder, check=False).stdout)


def _write_conf(file: Path, conf: str, options: Mapping[str, Mapping[str, str]]) -> None:
    parser = configparser.RawConfigParser()
    parser.read_string(conf)
    parser.read_dict(options)
    with file.open("w") as writer:
        parser.write(writer)


def _outcome(report: str) -> Outcome:
    passed: set[str] = set()
    skipped: dict[str, str] = {}
    failed: dict[str, str] = {}
    for case in xml.fromstring(report).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}".removeprefix(".")
        if (skip := case.find("skipped")) is not None:
            skipped[name] = (skip.text or "").strip()
        elif (failure := case.find("failure")) is not None:
            failed[name] = (failure.text or "").strip()
        else:
            passed.add(name)
    return Outcome(frozenset(passed), skipped, failed)
