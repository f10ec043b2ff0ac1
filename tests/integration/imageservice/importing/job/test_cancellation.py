"""Imports that are cancelled, and imports that are tried again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.environments.daemon import scratch, wait_until
from tests.environments.imageservice import ImageService, image_service
from tests.integration.imageservice.importing.conftest import ask, assert_clean, ended, leftovers, settings
from tests.integration.imageservice.importing.test_import import DATA, assert_active, break_store, mend_store
from tests.integration.imageservice.importing.web import Web
from tests.integration.imageservice.server.plain_app import pattern

pytestmark = pytest.mark.server


def newest(service: ImageService, image_id: str) -> str:
    return str(service.request("GET", f"/v2/images/{image_id}/tasks").json()["tasks"][0]["id"])


def test_a_running_import_can_be_cancelled(service: ImageService, origin: Web) -> None:
    origin.files["slow.img"] = pattern(4 << 20)
    image_id = service.create()
    assert ask(service, image_id, "web-download", uri=origin.url("/drip/slow.img"), all_stores=True).status_code == 202
    wait_until(lambda: leftovers(service, image_id) != [], "some data")
    path = f"/v2/images/{image_id}/tasks/{newest(service, image_id)}"
    assert service.request("DELETE", path, "bob").status_code == 404
    assert service.request("DELETE", path, "rita").status_code == 403
    assert service.request("DELETE", path).status_code == 202
    task = ended(service, image_id, seconds=15)
    assert (task["status"], task["message"]) == ("failure", "The import was cancelled")
    assert_clean(service, image_id)
    assert service.request("DELETE", path).status_code == 409
    assert service.upload(image_id, DATA).status_code == 204


def test_a_failed_import_can_be_tried_again(service: ImageService, origin: Web) -> None:
    origin.files["late.img"] = b""
    del origin.files["late.img"]
    image_id = service.create()
    assert ask(service, image_id, "web-download", uri=origin.url("/late.img"), all_stores=True).status_code == 202
    first = ended(service, image_id)
    assert first["status"] == "failure"
    assert "status 404" in first["message"]
    assert_clean(service, image_id)
    origin.files["late.img"] = DATA
    path = f"/v2/images/{image_id}/tasks/{first['id']}/retry"
    assert service.request("POST", path, "bob").status_code == 404
    assert service.request("POST", path).status_code == 202
    second = ended(service, image_id)
    assert second["id"] != first["id"]
    assert second["status"] == "success"
    assert_active(service, image_id, DATA, "one,three,two")
    assert service.request("POST", f"/v2/images/{image_id}/tasks/{second['id']}/retry").status_code == 409
    assert service.request("POST", f"/v2/images/{image_id}/tasks/{uuid.uuid4()}/retry").status_code == 404


def test_stores_that_failed_get_a_copy(service: ImageService, origin: Web) -> None:
    origin.files["x.img"] = DATA
    image_id = service.create("admin")
    folder = break_store(service, "three")
    try:
        uri = origin.url("/x.img")
        ask(service, image_id, "web-download", "admin", uri=uri, all_stores=True, all_stores_must_succeed=False)
        task = ended(service, image_id, "admin")
    finally:
        mend_store(folder)
    assert service.show(image_id, "admin")["stores"] == "one,two"
    assert service.request("POST", f"/v2/images/{image_id}/tasks/{task['id']}/retry", "admin").status_code == 202
    assert ended(service, image_id, "admin")["status"] == "success"
    assert_active(service, image_id, DATA, "one,three,two", "admin")


@pytest.fixture(scope="module")
def patient() -> Iterator[ImageService]:
    """One job at a time, and leases that no test lives to see renewed."""
    with (
        scratch("patient") as folder,
        image_service(folder, **settings(folder, jobs=1), data={"upload_lease": 3600}) as running,
    ):
        yield running


def test_a_cancellation_is_noticed_at_once(patient: ImageService, origin: Web) -> None:
    """Also that of an import whose turn has not come."""
    origin.files["slow.img"] = DATA
    images = [patient.create(), patient.create()]
    for image_id in images:
        assert ask(patient, image_id, "web-download", uri=origin.url("/drip/slow.img")).status_code == 202
    wait_until(lambda: leftovers(patient, images[0]) != [], "some data")
    for image_id in reversed(images):
        [task] = tasks_of(patient, image_id)
        assert patient.request("DELETE", f"/v2/images/{image_id}/tasks/{task['id']}").status_code == 202
        assert ended(patient, image_id)["message"] == "The import was cancelled"
        assert_clean(patient, image_id)


def test_a_deletion_is_noticed_at_once(patient: ImageService, origin: Web) -> None:
    origin.files["slow.img"] = DATA
    image_id = patient.create()
    assert ask(patient, image_id, "web-download", uri=origin.url("/drip/slow.img")).status_code == 202
    wait_until(lambda: leftovers(patient, image_id) != [], "bytes")
    assert patient.request("DELETE", f"/v2/images/{image_id}").status_code == 204
    wait_until(lambda: leftovers(patient, image_id) == [], "nothing is left", seconds=2.5)


def tasks_of(service: ImageService, image_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.request("GET", f"/v2/images/{image_id}/tasks").json()["tasks"]
    return found
