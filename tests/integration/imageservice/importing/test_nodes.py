"""Two nodes with an API and a worker each, one database, shared stores, and a proxy in front: any of them may die."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests

from pipeline.imageservice.catalog.database import migrate
from pipeline.imageservice.catalog.database.connection import Database
from tests.environments.ceph import ACCESS_KEY, SECRET_KEY
from tests.environments.daemon import free_port, scratch, wait_until
from tests.environments.fixtures import installed
from tests.environments.imageservice import ImageService, image_service
from tests.environments.nginx import nginx
from tests.integration.imageservice.importing.conftest import STORES, settings
from tests.integration.imageservice.importing.test_crash import kill_all
from tests.integration.imageservice.importing.web import Web
from tests.integration.imageservice.lifecycle.transfer.test_upload import qcow2
from tests.integration.imageservice.server.plain_app import pattern

pytestmark = pytest.mark.server
MIB = 1 << 20
DATA = pattern(12 * MIB + 5)  # several parts of an object store's upload
_PROXY = """
    upstream images {{ {servers} }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 0;
        proxy_request_buffering off;
        proxy_http_version 1.1;
        location / {{ proxy_pass http://images; proxy_next_upstream error non_idempotent; }}
    }}
"""


@dataclass
class Nodes:
    """The nodes by name, and the proxy's URL. ``bucket``: where staged data lies, if in an object store."""

    url: str
    folder: Path
    running: dict[str, ImageService] = field(default_factory=dict)
    bucket: Any = None

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        """Through the proxy, which takes another node for each request."""
        headers = {"X-Auth-Token": "alice-token", **more.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=60, **more)

    def stage(self, data: bytes = DATA, node: str = "first", **fields: str) -> str:
        """A new image whose data is staged on ``node``; its id."""
        service = self.running[node]
        image_id = service.create(**fields)
        octets = {"Content-Type": "application/octet-stream"}
        staged = service.request("PUT", f"/v2/images/{image_id}/stage", data=data, headers=octets)
        assert staged.status_code == 204, staged.text
        return image_id

    def ask(self, image_id: str, method: str, node: str = "second", **more: Any) -> None:
        body = {"method": {"name": method, **more}, "all_stores": True}
        answer = self.running[node].request("POST", f"/v2/images/{image_id}/import", json=body)
        assert answer.status_code == 202, answer.text

    def settled(self, image_id: str) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def over() -> bool:
            with contextlib.suppress(requests.RequestException, ValueError):
                found.clear()
                found.update(self.call("GET", f"/v2/images/{image_id}").json())
            return found.get("status") in ("active", "queued") and "os_glance_import_task" not in found

        wait_until(over, "the import is over", seconds=90)
        return found

    def staged(self, image_id: str) -> list[str]:
        """Whatever is about an image in staging, on any node."""
        names = [path.name for path in self.folder.glob("*/staging/*")]
        if self.bucket is not None:
            names += [item.key for item in self.bucket.objects.all()]
            names += [upload.object_key for upload in self.bucket.multipart_uploads.all()]
        return [name for name in names if image_id in name]

    def kept(self, image_id: str) -> list[Path]:
        return [path for path in self.folder.glob("stores/*/*") if image_id in path.name]

    def assert_agree(self, image_id: str, data: bytes = DATA) -> None:
        """Catalog, stores and staging say the same."""
        shown = self.settled(image_id)
        if shown["status"] == "active":
            assert (shown["stores"], shown["size"]) == (",".join(sorted(STORES)), len(data))
            assert shown["os_hash_value"] == hashlib.sha512(data).hexdigest()
            assert all(path.read_bytes() == data for path in self.kept(image_id))
            assert len(self.kept(image_id)) == len(STORES)
            answers = [self.call("GET", f"/v2/images/{image_id}/file").content for _ in self.running]
            assert all(answer == data for answer in answers)
        else:
            assert self.kept(image_id) == []
        wait_until(lambda: self.staged(image_id) == [], "nothing is left in staging", seconds=120)


_LONG = [pytest.param(kind, marks=pytest.mark.long) for kind in ("shared", "objects")]


@pytest.fixture(scope="module", params=["local", *_LONG])
def nodes(request: pytest.FixtureRequest, postgresql_server: Any) -> Iterator[Nodes]:
    """Staged data lies on the node that took it, in a folder that both share, or in an object store."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(postgresql_server.database())
        folder = stack.enter_context(scratch("nodes"))
        made = Nodes("", folder)
        staging: dict[str, Any] = {"lost_node_seconds": 8, "shared": request.param == "shared"}
        if request.param == "objects":
            host = request.getfixturevalue("gateway")
            staging["store"] = {"type": "s3", "id": "staging", "host": host, "bucket": f"staging-{uuid.uuid4().hex}"}
            staging["store"] |= {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "create_bucket": True}
            staging["store"] |= {"part_size": 5 * MIB}
            keys: Any = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, "region_name": "x"}
            resource: Any = boto3.resource("s3", endpoint_url=host, **keys)
            made.bucket = resource.Bucket(staging["store"]["bucket"])
        database = Database(url)
        migrate.upgrade(database)
        database.close()
        for name in ("first", "second"):
            (folder / name).mkdir()
            mine = settings(folder, staging={**staging, "node": name}, plugins=["image_conversion"])
            mine["database"] = {"url": url}
            if request.param == "shared":
                mine["data"] = {"staging": str(folder / "all" / "staging")}
            made.running[name] = stack.enter_context(image_service(folder / name, **mine))
        port = free_port()
        servers = " ".join(f"server {service.url.removeprefix('http://')};" for service in made.running.values())
        stack.enter_context(installed(nginx(_PROXY.format(servers=servers, port=port), port=port)))
        made.url = f"http://127.0.0.1:{port}"
        yield made
        for service in made.running.values():
            assert "Traceback" not in service.log.read_text()


def test_what_is_staged_on_one_is_imported_by_way_of_the_other(nodes: Nodes) -> None:
    images = [(nodes.stage(node=here), there) for here, there in (("first", "second"), ("second", "first"))]
    for image_id, there in images:
        nodes.ask(image_id, "glance-direct", there)
    for image_id, _ in images:
        nodes.assert_agree(image_id)
        assert nodes.settled(image_id)["status"] == "active"


def test_conversion_where_the_data_is(nodes: Nodes) -> None:
    image_id = nodes.stage(qcow2(), disk_format="qcow2")
    nodes.ask(image_id, "glance-direct")
    nodes.assert_agree(image_id, bytes(MIB))
    assert nodes.settled(image_id)["disk_format"] == "raw"


@pytest.mark.parametrize("method", ["glance-direct", "web-download"])
@pytest.mark.parametrize("victim", ["first", "second"])
def test_either_is_killed(nodes: Nodes, origin: Web, method: str, victim: str) -> None:
    origin.files["nodes.img"] = DATA
    image_id = nodes.stage() if method == "glance-direct" else nodes.running["first"].create()
    more = {} if method == "glance-direct" else {"uri": origin.url("/resume/1000000000/nodes.img")}
    nodes.ask(image_id, method, **more)
    time.sleep(0.3)
    kill_all(nodes.running[victim])
    assert nodes.settled(image_id)["status"] == "active"
    nodes.assert_agree(image_id)


def test_one_is_gone_for_good(nodes: Nodes, origin: Web, request: pytest.FixtureRequest) -> None:
    """The other does what it can: all but an image whose data lay on the lost node, which waits again."""
    origin.files["lost.img"] = DATA
    staged = nodes.stage(node="first")
    fetched = nodes.running["first"].create()
    nodes.ask(fetched, "web-download", uri=origin.url("/drip/lost.img"))
    nodes.ask(staged, "glance-direct")
    for pid in nodes.running["first"].processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    origin.hurry("lost.img")
    assert nodes.settled(fetched)["status"] == "active"
    local = request.node.callspec.params["nodes"] == "local"
    found = nodes.settled(staged)
    if local and found["status"] == "queued":
        [task] = nodes.call("GET", f"/v2/images/{staged}/tasks").json()["tasks"]
        assert "the staged data, first, is gone" in task["message"]
        assert nodes.kept(staged) == []
    else:
        assert found["status"] == "active"
        nodes.assert_agree(staged)
