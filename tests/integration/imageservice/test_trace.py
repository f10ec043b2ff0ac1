"""The published trace of an upload, replayed request for request: same statuses, same keys, same values.

What may differ: ids, times, tokens, digests of other bytes, and what the schema has gained since.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.environments.deployed_service import ImageService, image_service

pytestmark = pytest.mark.server
CLIENT = {
    "User-Agent": "python-glanceclient",
    "Accept-Encoding": "gzip, deflate",
    "Accept": "*/*",
    "Connection": "keep-alive",
}
OCTETS = {"Content-Type": "application/octet-stream"}
PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
PROJECT = "c0a46a106d3341649a25b10f2770aff8"
TOKEN = "token-of-the-trace"

# The document as the trace shows it right after the image was created, but for its id, its times and links.
CREATED: Mapping[str, Any] = {
    "name": "overcloud-full-vmlinuz",
    "disk_format": "aki",
    "container_format": "bare",
    "visibility": "public",
    "size": None,
    "virtual_size": None,
    "status": "queued",
    "checksum": None,
    "protected": False,
    "min_ram": 0,
    "min_disk": 0,
    "owner": PROJECT,
    "os_hidden": False,
    "os_hash_algo": None,
    "os_hash_value": None,
    "tags": [],
    "schema": "/v2/schemas/image",
}
IMAGES = {"overcloud-full": "raw", "overcloud-full-initrd": "ari", "overcloud-full-vmlinuz": "aki"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageService]:
    """As in the trace: one store, and its address shown."""
    folder = tmp_path_factory.mktemp("trace")
    token = {"name": "admin", "token": TOKEN, "user": "admin", "project": PROJECT, "roles": ["admin"]}
    settings = {
        "stores": [{"id": "only", "directories": [str(folder / "only")]}],
        "api": {"show_direct_url": True},
        "identity": {"kind": "static", "tokens": [token]},
    }
    with image_service(folder, settings) as running:
        yield running


@pytest.fixture(scope="module")
def client(service: ImageService) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers.update({**CLIENT, "X-Auth-Token": TOKEN})
        yield session


def test_replay(service: ImageService, client: requests.Session) -> None:
    images = f"{service.url}/v2/images"
    for name, disk_format in IMAGES.items():
        missing = client.get(f"{images}/{name}", headers=OCTETS)
        assert missing.status_code == 404
        if disk_format == "raw":
            _replay_empty_list(client, images)
        _replay_upload(client, images, name, disk_format)
    listed = client.get(images, params={"limit": "20"}).json()["images"]
    assert {(image["name"], image["status"]) for image in listed} == {(name, "active") for name in IMAGES}


def _replay_empty_list(client: requests.Session, images: str) -> None:
    answer = client.get(images, params={"limit": "20"}, headers=OCTETS)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Openstack-Request-Id"].startswith("req-")
    assert answer.json() == {"images": [], "first": "/v2/images?limit=20", "schema": "/v2/schemas/images"}


def _replay_upload(client: requests.Session, images: str, name: str, disk_format: str) -> None:
    data = name.encode() * 5000
    body = {"name": name, "disk_format": disk_format, "visibility": "public", "container_format": "bare"}
    made = client.post(images, data=json.dumps(body), headers={"Content-Type": "application/json"})
    assert made.status_code == 201
    document = made.json()
    path = f"/v2/images/{document['id']}"
    assert made.headers["Location"] == f"{images}/{document['id']}"
    expected = {**CREATED, "name": name, "disk_format": disk_format, "self": path, "file": f"{path}/file"}
    assert _lasting(document) == expected

    sent = client.put(f"{images}/{document['id']}/file", data=iter([data[:999], data[999:]]), headers=OCTETS)
    assert (sent.status_code, sent.content) == (204, b"")

    active = client.get(f"{images}/{document['id']}", headers=OCTETS).json()
    expected |= {
        "status": "active",
        "size": len(data),
        "checksum": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "os_hash_algo": "sha512",
        "os_hash_value": hashlib.sha512(data).hexdigest(),
        "virtual_size": len(data) if disk_format == "raw" else None,
    }
    assert active.pop("direct_url").endswith(f"/{document['id']}")
    assert _lasting(active) == expected

    operation = {"op": "add", "path": "/hw_architecture", "value": "x86_64"}
    changed = client.patch(f"{images}/{document['id']}", data=json.dumps([operation]), headers=PATCH)
    assert changed.status_code == 200
    patched = changed.json()
    assert patched.pop("direct_url")
    assert _lasting(patched) == {**expected, "hw_architecture": "x86_64"}


def _lasting(document: Mapping[str, Any]) -> dict[str, Any]:
    """Without what each run makes anew."""
    return {name: value for name, value in document.items() if name not in ("id", "created_at", "updated_at")}


def test_the_schema_is_the_traces_and_more(service: ImageService, client: requests.Session) -> None:
    ours = client.get(f"{service.url}/v2/schemas/image").json()
    theirs = json.loads((Path(__file__).with_name("trace-schema.json")).read_text())
    assert (ours["name"], ours["links"], ours["additionalProperties"]) == (
        theirs["name"],
        theirs["links"],
        theirs["additionalProperties"],
    )
    for name, property_ in theirs["properties"].items():
        assert ours["properties"][name] == property_, name
