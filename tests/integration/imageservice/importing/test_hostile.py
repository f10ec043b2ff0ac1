"""Every hostile image by every way in: refused with the reason, before QEMU sees it, and without a trace."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environments.daemon import scratch, wait_until
from tests.environments.imageservice import ImageService, image_service
from tests.integration.imageservice.importing.conftest import ask, ended, leftovers, settings, stage
from tests.integration.imageservice.importing.web import Web
from tests.unit.image.hostile import make_harmless, make_hostile
from tests.unit.image.hostile_vmdks import all_of_them

pytestmark = pytest.mark.server
STORES = ["one", "two"]
# The rest is tried on the parser itself, which all ways ask.
VMDK_TRICKS = (
    "monolithicSparse/parent-hint-in-comment",
    "streamOptimized/parent-hint-in-value",
    "monolithicSparse/behind-nul",
    "monolithicSparse/extent-with-path",
    "header/no-capacity",
    "footer/capacity",
    "text/blanks-and-zeros",
    "text/latin-1",
)
WAYS = ("upload", "glance-direct", "web-download", "converting", "task")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Path, str]]:
    folder = tmp_path_factory.mktemp("hostile")
    made = make_hostile(folder, make_harmless(folder))
    for trick, data in all_of_them():
        if trick in VMDK_TRICKS:
            path = folder / trick.replace("/", "-")
            path.write_bytes(data)
            made[trick] = ("vmdk", path, "unsafe")
            made[f"{trick}-as-raw"] = ("raw", path, "unsafe")
    # A disk format that no image may have is refused with the record already; encrypted disks may come in.
    return {name: one for name, one in made.items() if one[0] not in ("qed", "luks") and name != "encrypted"}


@pytest.fixture(scope="module")
def converting() -> Iterator[ImageService]:
    with scratch("hostile") as folder:
        plugins = settings(folder, plugins=["image_decompression", "image_conversion"])
        with image_service(folder, **plugins) as running:
            yield running
            assert "Traceback" not in running.log.read_text()


@pytest.mark.parametrize("way", WAYS)
def test_hostile_images_are_refused(
    service: ImageService,
    converting: ImageService,
    origin: Web,
    hostile: dict[str, tuple[str, Path, str]],
    way: str,
) -> None:
    asked: dict[str, str] = {}
    target = converting if way == "converting" else service
    for name, (declared, path, _) in hostile.items():
        data = path.read_bytes()
        file = f"{uuid.uuid4().hex}.img"
        origin.files[file] = data
        if way == "task":
            fields = {"disk_format": declared, "container_format": "bare", "name": name}
            given = {"import_from": origin.url(f"/{file}"), "image_properties": fields}
            body = {"type": "import", "input": given}
            assert target.request("POST", "/v2/tasks", "admin", json=body).status_code == 201
            continue
        image_id = target.create(disk_format=declared, name=name)
        if way == "upload":
            answer = target.upload(image_id, data)
            assert answer.status_code == 415, (name, answer.text)
        elif way == "glance-direct":
            answer = stage(target, image_id, data)
            assert answer.status_code == 415, (name, answer.text)
        else:
            assert ask(target, image_id, "web-download", uri=origin.url(f"/{file}"), stores=STORES).status_code == 202
            asked[name] = image_id
        assert leftovers(target, image_id) == [] or name in asked
    for name, image_id in asked.items():
        task = ended(target, image_id)
        assert task["status"] == "failure", name
        print(f"{way} | {hostile[name][0]} | {name} | {task['message']}")
        assert "refused" in task["message"], (name, task)
        assert target.show(image_id)["status"] == "queued"
        assert leftovers(target, image_id) == []
    if way == "task":
        assert_all_fail(target, len(hostile))


def assert_all_fail(service: ImageService, count: int) -> None:
    def newest() -> list[dict[str, str]]:
        stubs = service.request("GET", f"/v2/tasks?type=import&limit={count}", "admin").json()["tasks"]
        return [service.request("GET", f"/v2/tasks/{one['id']}", "admin").json() for one in stubs]

    wait_until(lambda: all(one["status"] in ("success", "failure") for one in newest()), "all tasks are over")
    for task in newest():
        assert task["status"] == "failure", task
        assert "refused" in task["message"], task
        assert leftovers(service, str(task["image_id"])) == []
