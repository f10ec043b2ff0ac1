"""``POST /v2/tasks`` of type import: a new image and its data by one task."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.environments.daemon import wait_until
from tests.environments.imageservice import ImageService
from tests.integration.imageservice.importing.conftest import leftovers
from tests.integration.imageservice.importing.web import Web
from tests.integration.imageservice.server.plain_app import pattern

pytestmark = pytest.mark.server
DATA = pattern((3 << 20) + 5)
RAW = {"disk_format": "raw", "container_format": "bare"}


def ask(service: ImageService, **given: Any) -> dict[str, Any]:
    """The task, once it is over."""
    answer = service.request("POST", "/v2/tasks", "admin", json={"type": "import", "input": given})
    assert answer.status_code == 201, answer.text
    task: dict[str, Any] = answer.json()
    assert (task["status"], task["result"], task["message"]) == ("pending", None, "")
    assert answer.headers["Location"].endswith(f"/v2/tasks/{task['id']}")

    def shown() -> dict[str, Any]:
        document: dict[str, Any] = service.request("GET", f"/v2/tasks/{task['id']}", "admin").json()
        return document

    wait_until(lambda: shown()["status"] in ("success", "failure"), "the task is over", seconds=60)
    return shown()


def test_a_task_makes_an_image(service: ImageService, origin: Web) -> None:
    origin.files["old.img"] = DATA
    properties = {**RAW, "name": "by a task", "os_distro": "debian", "min_disk": 1}
    task = ask(service, import_from=origin.url("/old.img"), import_from_format="raw", image_properties=properties)
    assert task["status"] == "success", task
    assert task["expires_at"]
    image = service.show(task["result"]["image_id"], "admin")
    assert image["owner"] == "admin"
    assert {name: image[name] for name in properties} == properties
    assert (image["status"], image["stores"], image["size"]) == ("active", "one", len(DATA))
    assert image["os_hash_value"] == hashlib.sha512(DATA).hexdigest()
    assert task["image_id"] == image["id"]
    [kept] = leftovers(service, image["id"])
    assert kept.read_bytes() == DATA


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"import_from_format": "raw"}, "import_from"),
        ({"import_from": "/old.img", "image_properties": {"min_disk": "1"}}, "min_disk"),
        ({"import_from": "/old.img", "import_from_format": "floppy"}, "floppy"),
        ({"import_from": "/old.img", "image_properties": {"os_glance_x": "y"}}, "os_glance_x"),
        ({"import_from": "/old.img", "image_properties": {"disk_format": "floppy"}}, "floppy"),
        ({"import_from": "/old.img"}, "qcow2"),  # what the data is not, and what is expected unless told otherwise
        ({"import_from": "/missing.img", "image_properties": RAW}, "404"),
    ],
)
def test_nothing_stays_of_a_task_that_fails(
    service: ImageService, origin: Web, given: dict[str, Any], message: str
) -> None:
    origin.files["old.img"] = DATA

    def there() -> set[str]:
        return {image["id"] for image in service.request("GET", "/v2/images?limit=500", "admin").json()["images"]}

    before = there()
    if "import_from" in given:
        given = {**given, "import_from": origin.url(given["import_from"])}
    task = ask(service, **given)
    assert task["status"] == "failure"
    assert message in task["message"]
    assert there() == before
    if task["image_id"]:
        assert leftovers(service, task["image_id"]) == []
