"""The clients people have, unmodified, with the lines people type."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import openstack
import pytest
import requests

from pipeline.host.system import process
from tests.environments.deployed_service import ImageService, image_service

pytestmark = pytest.mark.server
TOKEN = "token-of-clients"
BIN = Path(sys.executable).parent
DATA = b"some bytes of an image" * 100


@pytest.fixture(scope="module", params=["static", "none"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageService]:
    """With tokens, and with nobody asked for any."""
    token = {"name": "t", "token": TOKEN, "user": "u", "project": "p", "roles": ["admin"]}
    identities = {"static": {"kind": "static", "tokens": [token]}, "none": {"kind": "none"}}
    with image_service(tmp_path_factory.mktemp("clients"), {"identity": identities[request.param]}) as running:
        yield running


@dataclass(frozen=True)
class Line:
    """How a client is told where the service is."""

    words: tuple[str, ...]
    env: Mapping[str, str]


def _lines(url: str, kind: str) -> dict[str, Line]:
    """The lines of the guide, those that fail against the reference too."""
    with_token = ("openstack", "--os-auth-type", "admin_token", "--os-token", TOKEN, "--os-endpoint")
    if kind == "static":
        return {
            "token, with version": Line((*with_token, f"{url}/v2"), {}),
            "token, bare": Line((*with_token, url), {}),
        }
    return {
        "none, bare": Line(("openstack", "--os-auth-type", "none", "--os-endpoint", url), {}),
        "none, with version": Line(("openstack", "--os-auth-type", "none", "--os-endpoint", f"{url}/v2"), {}),
        "none, by environment": Line(("openstack",), {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": url}),
    }


def run(line: Line, *words: str) -> str:
    program, *rest = line.words
    return process.run([BIN / program, *rest, *words], env={"HOME": "/nonexistent", **line.env}, timeout=300).stdout


def test_openstack(service: ImageService, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    kind = request.node.callspec.params["service"]
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(DATA)
    for name, line in _lines(service.url, kind).items():
        assert isinstance(json.loads(run(line, "image", "list", "-f", "json")), list), name
    line = next(iter(_lines(service.url, kind).values()))
    formats = ("--disk-format", "raw", "--container-format", "bare")
    made = json.loads(
        run(
            line,
            "image",
            "create",
            "one",
            "--file",
            str(source),
            *formats,
            "--property",
            "a=b",
            "--tag",
            "t",
            "-f",
            "json",
        )
    )
    assert made["status"] in ("active", "queued", "saving")
    shown = json.loads(run(line, "image", "show", "one", "-f", "json"))
    assert (shown["status"], shown["size"], shown["tags"]) == ("active", len(DATA), ["t"])
    run(line, "image", "set", "one", "--property", "os_distro=debian", "--name", "two")
    run(line, "image", "save", "two", "--file", str(target))
    assert target.read_bytes() == DATA
    assert [one["Name"] for one in json.loads(run(line, "image", "list", "-f", "json"))] == ["two"]
    run(line, "image", "delete", "two")
    assert json.loads(run(line, "image", "list", "-f", "json")) == []


def test_glance(service: ImageService, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(DATA)
    line = Line(("glance", "--os-auth-token", TOKEN, "--os-image-url", service.url), {})
    formats = ("--disk-format", "raw", "--container-format", "bare")
    output = run(line, "image-create", "--name", "three", "--file", str(source), "--progress", *formats)
    identifier = next(row.split("|")[2].strip() for row in output.splitlines() if row.startswith("| id "))
    assert "three" in run(line, "image-list")
    run(line, "image-update", identifier, "--property", "os_distro=debian")
    assert "debian" in run(line, "image-show", identifier)
    run(line, "image-download", identifier, "--file", str(target))
    assert target.read_bytes() == DATA
    run(line, "image-tag-update", identifier, "t")
    run(line, "image-deactivate", identifier)
    run(line, "image-delete", identifier)


def test_openstacksdk(service: ImageService, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if request.node.callspec.params["service"] != "none":
        pytest.skip("the SDK's own way in without an identity service is auth_type none")
    file = tmp_path / "image"
    file.write_bytes(DATA)
    cloud = openstack.connect(
        load_yaml_config=False, load_envvars=False, auth_type="none", auth={"endpoint": service.url}
    )
    image = cloud.create_image(
        "sdk", filename=str(file), disk_format="raw", container_format="bare", wait=True, os_distro="debian"
    )
    found = cloud.get_image("sdk")
    assert (found.id, found.status, found.size) == (image.id, "active", len(DATA))
    assert found.properties["owner_specified.openstack.object"] == "images/sdk"
    assert cloud.image.download_image(found.id).content == DATA
    assert cloud.delete_image("sdk", wait=True)


def test_shapes_of_compute_and_block_storage(service: ImageService) -> None:
    """Requests as Nova and Cinder send them."""
    headers = {"X-Auth-Token": TOKEN}
    snapshot = {
        "name": "snapshot",
        "visibility": "private",
        "instance_uuid": "11111111-2222-3333-4444-555555555555",
        "user_id": "u",
        "image_type": "snapshot",
        "base_image_ref": "",
        "kernel_id": None,
        "ramdisk_id": None,
    }
    made = requests.post(f"{service.url}/v2/images", json=snapshot, headers=headers, timeout=60)
    assert made.status_code == 201, made.text
    path = f"{service.url}{made.json()['self']}"
    patch = [
        {"op": "replace", "path": "/disk_format", "value": "raw"},
        {"op": "replace", "path": "/container_format", "value": "bare"},
        {"op": "add", "path": "/image_state", "value": "available"},
        {"op": "add", "path": "/owner_id", "value": "p"},
    ]
    kind = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    assert requests.patch(path, data=json.dumps(patch), headers={**headers, **kind}, timeout=60).status_code == 200
    octets = {**headers, "Content-Type": "application/octet-stream", "x-openstack-base-image-ref": path}
    assert requests.put(f"{path}/file", data=iter([DATA, DATA]), headers=octets, timeout=60).status_code == 204
    empty = requests.post(
        f"{service.url}/v2/images",
        json={"disk_format": "raw", "container_format": "bare", "block_device_mapping": "[]", "bdm_v2": "True"},
        headers=headers,
        timeout=60,
    ).json()
    assert requests.put(f"{service.url}{empty['file']}", data=b"", headers=octets, timeout=60).status_code == 204
    shown = requests.get(f"{service.url}{empty['self']}", headers=headers, timeout=60).json()
    assert (shown["status"], shown["size"]) == ("active", 0)
    listed = requests.get(
        f"{service.url}/v2/images",
        params={"updated_at": "gte:2020-01-01T00:00:00", "status": "active", "limit": "1"},
        headers=headers,
        timeout=60,
    )
    assert len(listed.json()["images"]) == 1
