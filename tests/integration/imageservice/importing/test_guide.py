"""The operator's guide on importing, typed as it is written, with the client it is written for."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.host.system import process
from tests.environments.daemon import scratch, wait_until
from tests.environments.imageservice import ImageService, image_service
from tests.integration.imageservice.importing.conftest import OPEN
from tests.integration.imageservice.importing.web import Web
from tests.integration.imageservice.lifecycle.transfer.test_upload import qcow2

pytestmark = pytest.mark.server
SITES = ("central", "dcn0", "dcn1")
PROGRAM = Path(sys.executable).with_name("glance")


@pytest.fixture(scope="module")
def service() -> Iterator[ImageService]:
    """A central site and two at the edge; disks are converted to RAW, as the guide has it."""
    with scratch("guide") as folder:
        stores = [{"id": name, "directories": [str(folder / "stores" / name)]} for name in SITES]
        settings: dict[str, Any] = {
            "stores": stores,
            "fetch": OPEN,
            "server": {"processes": 1},
            "api": {"show_locations": True},
        }
        with image_service(folder, **settings, imports={"plugins": ["image_conversion"]}) as running:
            yield running


def glance(service: ImageService, line: str) -> str:
    """What ``glance LINE`` prints."""
    words = line.replace("\\\n", " ").split()
    return run(PROGRAM, "--os-auth-token", "admin-token", "--os-image-url", service.url, *words)


def run(*words: str | Path) -> str:
    """Clients take what is not a terminal for data; they are typed at one, or run by cron, without standard input."""
    command: list[str | Path] = ["sh", "-c", 'exec "$0" "$@" <&-', *words]
    return process.run(command, env={"HOME": "/nonexistent"}, timeout=120).stdout


def shown(table: str) -> dict[str, str]:
    """A table of two columns as the guide shows it; long values go on in the next row."""
    found: dict[str, str] = {}
    last = ""
    for row in table.splitlines():
        if row.startswith("| "):
            name, value = (cell.strip() for cell in row.strip("|").split(" | ", 1))
            last = name or last
            found[last] = found.get(last, "") + value
    return found


def active(service: ImageService, image_id: str, stores: str) -> dict[str, str]:
    found: dict[str, str] = {}

    def is_there() -> bool:
        # The guide's way of watching; its two seconds between looks are the program's start here.
        found.clear()
        found.update(shown(glance(service, f"image-show {image_id}")))
        return found["os_glance_importing_to_stores"] == "" and found["status"] == "active"

    wait_until(is_there, "the operation completes", seconds=90)
    assert (found["os_glance_failed_import"], found["stores"]) == ("", stores)
    return found


@pytest.fixture(scope="module")
def uri(origin: Web) -> str:
    origin.files["image.qcow2"] = qcow2()
    return origin.url("/image.qcow2")


def test_import_methods(service: ImageService) -> None:
    """1.2.4: which methods there are."""
    said = glance(service, "import-info")
    assert all(name in shown(said)["import-methods"] for name in ("glance-direct", "web-download", "copy-image"))
    stores = shown(glance(service, "stores-info"))["stores"]
    assert all(f'"id": "{name}"' in stores for name in SITES), stores


def test_an_image_stored_as_raw(service: ImageService, uri: str) -> None:
    """1.1.3, 1.2.4.1, 1.2.9 and 2.2.4: from a URI, converted, into the central store unless told otherwise."""
    made = shown(
        glance(
            service,
            f"""image-create-via-import \\
                --disk-format qcow2 \\
                --container-format bare \\
                --name NAME \\
                --visibility public \\
                --import-method web-download \\
                --uri {uri}""",
        )
    )
    assert (made["name"], made["visibility"]) == ("NAME", "public")
    assert made["os_glance_importing_to_stores"] in ("central", "")
    found = active(service, made["id"], "central")
    assert (found["disk_format"], found["container_format"]) == ("raw", "bare")
    assert found["size"] == found["virtual_size"]
    edge = shown(
        glance(
            service,
            f"""image-create-via-import \\
                --container-format bare \\
                --disk-format qcow2 \\
                --name IMAGE-NAME \\
                --import-method web-download \\
                --uri {uri} \\
                --store dcn1""",
        )
    )
    active(service, edge["id"], "dcn1")


def test_an_image_from_a_local_volume(service: ImageService, tmp_path: Path) -> None:
    """1.2.4.2: in three calls, and in one."""
    file = tmp_path / "image.raw"
    file.write_bytes(b"\0\1" * 4096)
    formats = "--container-format bare --disk-format raw"
    image_id = shown(glance(service, f"image-create {formats} --name three-calls"))["id"]
    glance(service, f"image-stage --file {file} {image_id}")
    assert service.show(image_id, "admin")["status"] == "uploading"
    asked = shown(glance(service, f"image-import --import-method glance-direct {image_id}"))
    assert asked["status"] in ("importing", "active")
    active(service, image_id, "central")
    made = shown(glance(service, f"image-create-via-import {formats} --name one-call --file {file}"))
    active(service, made["id"], "central")


def test_an_image_in_several_stores(service: ImageService, uri: str) -> None:
    """2.2.2 to 2.2.5, 2.3, 2.4 and 2.5: imported into two stores, copied to all, deleted from one, and looked at."""
    made = shown(
        glance(
            service,
            f"""image-create-via-import \\
            --container-format bare \\
            --disk-format qcow2 \\
            --name cirros \\
            --import-method web-download \\
            --uri {uri} \\
            --stores central,dcn0""",
        )
    )
    image_id = made["id"]
    assert set(made["os_glance_importing_to_stores"].split(",")) <= {"central", "dcn0", ""}
    active(service, image_id, "central,dcn0")
    with pytest.raises(process.ProcessFailed, match="already present at store"):
        glance(service, f"image-import {image_id} --stores dcn0,dcn1 --import-method copy-image")
    asked = shown(glance(service, f"image-import {image_id} --all-stores true --import-method copy-image"))
    assert asked["status"] == "active"
    active(service, image_id, "central,dcn0,dcn1")
    listed = glance(service, "image-list --include-stores")
    assert re.search(rf"^\| {image_id} \| cirros +\| central,dcn0,dcn1 +\|$", listed, re.MULTILINE), listed
    glance(service, f"stores-delete --store dcn0 {image_id}")
    found = shown(glance(service, f"image-show {image_id}"))
    assert found["stores"] == "central,dcn1"
    locations = service.show(image_id, "admin")["locations"]
    assert [location["metadata"]["store"] for location in locations] == ["central", "dcn1"]
    glance(service, f"image-import {image_id} --stores dcn0 --import-method copy-image")
    active(service, image_id, "central,dcn0,dcn1")
    glance(service, f"image-delete {image_id}")
    assert not [path for path in service.files() if image_id in path.name]


@pytest.mark.long
@pytest.mark.parametrize(("allow", "status", "failed"), [("true", "active", "dcn0"), ("false", "queued", "dcn0")])
def test_a_store_that_fails(service: ImageService, uri: str, allow: str, status: str, failed: str) -> None:
    """2.2.1 and 2.2.5: whether the import stands when a store fails, and that it is told which one did."""
    folder = service.folder / "stores" / "dcn0"
    folder.rename(folder.with_name("dcn0.away"))
    folder.write_text("no folder")
    try:
        made = shown(
            glance(
                service,
                f"""image-create-via-import --container-format bare --disk-format qcow2 --name IMAGE-NAME
                --import-method web-download --uri {uri} --stores central,dcn0 --allow-failure {allow}""",
            )
        )
        wait_until(lambda: "os_glance_import_task" not in service.show(made["id"], "admin"), "the import is over")
    finally:
        with contextlib.suppress(OSError):
            folder.unlink()
        folder.with_name("dcn0.away").rename(folder)
    found = shown(glance(service, f"image-show {made['id']}"))
    assert (found["status"], found["os_glance_failed_import"]) == (status, failed)
    assert found["os_glance_importing_to_stores"] == ""
    assert found.get("stores") == ("central" if allow == "true" else None)


def openstack(service: ImageService, *words: str | Path) -> Any:
    """What ``openstack image WORDS`` tells as JSON; nothing where it tells nothing."""
    who = ["--os-auth-type", "admin_token", "--os-token", "admin-token", "--os-endpoint", f"{service.url}/v2"]
    said = run(PROGRAM.with_name("openstack"), *who, "image", *words)
    return json.loads(said) if said.strip() else None


@pytest.mark.long
def test_the_unified_client(service: ImageService, uri: str, tmp_path: Path) -> None:
    """It sends false flags with every import, also where they are not asked for."""
    file = tmp_path / "image.raw"
    file.write_bytes(b"\1\2" * 4096)
    formats = ("--disk-format", "raw", "--container-format", "bare", "-f", "json")
    image_id = openstack(service, "create", "unified", *formats)["id"]
    openstack(service, "stage", image_id, "--file", file)
    asked = openstack(service, "import", image_id, "--store", "dcn1", "central", "-f", "json")
    assert asked["id"] == image_id
    # Active with the first store, since it lets stores fail unless told otherwise.
    wait_until(lambda: service.show(image_id, "admin").get("stores") == "central,dcn1", "it is in both stores")
    fetched = openstack(service, "create", "fetched", "--disk-format", "qcow2", *formats[2:])["id"]
    method = ("--method", "web-download", "--uri", uri, "--all-stores", "-f", "json")
    assert openstack(service, "import", fetched, *method)["id"] == fetched
    wait_until(lambda: service.show(fetched, "admin").get("stores") == "central,dcn0,dcn1", "it is in all stores")
    openstack(service, "import", image_id, "--method", "copy-image", "--store", "dcn0", "-f", "json")
    wait_until(lambda: service.show(image_id, "admin")["stores"] == "central,dcn0,dcn1", "it is copied")
    listed = openstack(service, "task", "list", "-f", "json")
    assert "success" in {task["Status"] for task in listed}
