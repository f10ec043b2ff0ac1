"""How much a project may have."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipeline.imageservice.catalog.quotas import MEBIBYTE
from tests.integration.imageservice.api.world import Api, Person, message

NAMES = {"image_size_total", "image_stage_total", "image_count_total", "image_count_uploading"}
FORMATS = {"disk_format": "raw", "container_format": "bare"}


def limited(make_api: Callable[..., Api], **limits: int) -> Api:
    return make_api(quotas={"source": "settings", "default": limits})


def put(person: Person, path: str, size: int, *, announced: bool = True) -> Any:
    headers = {"Content-Type": "application/octet-stream"}
    return person.call("PUT", f"{path}/file", data=b"\1" * size, headers=headers, chunked=not announced)


def put_in_step(person: Person, path: str, size: int, met: threading.Barrier) -> int:
    """Upload without an announced size; nobody sends a second MiB before everybody has sent one."""

    class Body(io.RawIOBase):
        left = size

        def readable(self) -> bool:
            return True

        def readinto(self, view: Any) -> int:
            count = min(self.left, len(view), MEBIBYTE)
            if self.left == size - MEBIBYTE:
                with contextlib.suppress(threading.BrokenBarrierError):
                    met.wait(10)
            view[:count] = b"\1" * count
            self.left -= count
            return count

    headers = {"X-Auth-Token": person.token or "", "Content-Type": "application/octet-stream", "Accept": "*/*"}
    extras = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": Body()}
    return person.api.client.simulate_request("PUT", f"{path}/file", headers=headers, extras=extras).status_code


def usage(person: Person) -> dict[str, int]:
    return {name: found["usage"] for name, found in person.get("/v2/info/usage").json["usage"].items()}


def test_usage_and_limits_are_shown(make_api: Callable[..., Api]) -> None:
    api = limited(make_api, image_size_total=5, image_count_total=3)
    api.alice.active(b"\1" * (2 * MEBIBYTE))
    document = api.alice.get("/v2/info/usage").json["usage"]
    assert set(document) == NAMES
    assert document["image_size_total"] == {"limit": 5, "usage": 2}
    assert document["image_count_total"] == {"limit": 3, "usage": 1}
    assert document["image_stage_total"] == {"limit": -1, "usage": 0}
    assert api.rita.get("/v2/info/usage").json["usage"] == document
    assert usage(api.bob)["image_count_total"] == 0


def test_projects_have_their_own(make_api: Callable[..., Api]) -> None:
    project = make_api().alice.project
    quotas = {
        "source": "settings",
        "default": {"image_count_total": 0},
        "projects": {project: {"image_count_total": 1}},
    }
    api = make_api(quotas=quotas)
    assert api.alice.post("/v2/images", {}).status_code == 201
    assert api.alice.post("/v2/images", {}).status_code == 413
    assert api.bob.post("/v2/images", {}).status_code == 413


def test_the_number_of_images(make_api: Callable[..., Api]) -> None:
    api = limited(make_api, image_count_total=2)
    path = api.alice.create()
    api.alice.create()
    refused = api.alice.post("/v2/images", {})
    assert refused.status_code == 413
    assert "Resource image_count_total is over limit of 2 due to current usage 2 and delta 1" in message(refused)
    api.alice.delete(path)
    assert api.alice.post("/v2/images", {}).status_code == 201


def test_the_last_place_is_given_once(make_api: Callable[..., Api]) -> None:
    api = limited(make_api, image_count_total=5)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _n: api.alice.post("/v2/images", {}).status_code, range(24)))
    assert sorted(answers) == [201] * 5 + [413] * 19
    assert usage(api.alice)["image_count_total"] == 5


def test_the_size_of_all(make_api: Callable[..., Api]) -> None:
    api = limited(make_api, image_size_total=3)
    first = api.alice.create(**FORMATS)
    assert put(api.alice, first, 2 * MEBIBYTE).status_code == 204
    second = api.alice.create(**FORMATS)
    refused = put(api.alice, second, 2 * MEBIBYTE)
    assert refused.status_code == 413
    assert "Resource image_size_total is over limit of 3 due to current usage 2 and delta 2" in message(refused)
    assert api.alice.get(second).json["status"] == "queued"
    assert put(api.alice, second, MEBIBYTE).status_code == 204
    assert usage(api.alice)["image_size_total"] == 3
    for path in (first, second):
        api.alice.delete(path)
    assert set(usage(api.alice).values()) == {0}


def test_data_of_unknown_size_is_counted_as_it_comes(make_api: Callable[..., Api]) -> None:
    api = limited(make_api, image_size_total=2)
    first, second, third = (api.alice.create(**FORMATS) for _ in range(3))
    refused = put(api.alice, first, 4 * MEBIBYTE, announced=False)
    assert refused.status_code == 413
    assert "bytes remaining" in message(refused)
    assert usage(api.alice)["image_size_total"] == 0
    assert put(api.alice, second, 2 * MEBIBYTE, announced=False).status_code == 204
    assert put(api.alice, third, 2 * MEBIBYTE, announced=False).status_code == 413
    assert usage(api.alice)["image_size_total"] == 2


@pytest.mark.parametrize(
    "quotas", [{"source": "settings", "default": {"image_size_total": 4}}, {"user_storage": "4 MB"}]
)
def test_uploads_of_unknown_size_cannot_pass_a_limit_together(
    make_api: Callable[..., Api], quotas: dict[str, Any]
) -> None:
    """All of them are on their way when each has brought its first MiB."""
    api = make_api(quotas=quotas)
    paths = [api.alice.create(**FORMATS) for _ in range(3)]
    met = threading.Barrier(3)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda path: put_in_step(api.alice, path, 3 * MEBIBYTE, met), paths))
    assert set(answers) <= {204, 413}
    stored = [api.alice.get(path).json["size"] or 0 for path in paths]
    assert sum(stored) <= 4 * MEBIBYTE
    assert answers.count(413) >= 2
    for path in paths:
        api.alice.delete(path)
    assert set(usage(api.alice).values()) <= {0}
    assert put(api.alice, api.alice.create(**FORMATS), 4 * MEBIBYTE, announced=False).status_code == 204


def test_staged_data_of_unknown_size_is_counted_as_it_comes(make_api: Callable[..., Api]) -> None:
    api = limited(make_api, image_stage_total=2)
    headers = {"Content-Type": "application/octet-stream"}
    for size, status in ((4, 413), (2, 204), (1, 413)):
        data = b"\1" * (size * MEBIBYTE)
        path = f"{api.alice.create(**FORMATS)}/stage"
        assert api.alice.call("PUT", path, data=data, headers=headers, chunked=True).status_code == status
    assert usage(api.alice)["image_stage_total"] == 2


def test_announced_bytes_are_kept_free_while_they_come(make_api: Callable[..., Api]) -> None:
    """Many uploads at once cannot pass a limit together."""
    api = limited(make_api, image_size_total=4)
    paths = [api.alice.create(**FORMATS) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda path: put(api.alice, path, 2 * MEBIBYTE).status_code, paths))
    assert sorted(answers) == [204] * 2 + [413] * 4
    assert usage(api.alice) == {
        "image_size_total": 4,
        "image_stage_total": 0,
        "image_count_total": 6,
        "image_count_uploading": 0,
    }


@pytest.mark.parametrize("announced", [True, False])
def test_the_plain_storage_quota(make_api: Callable[..., Api], announced: bool) -> None:
    api = make_api(quotas={"user_storage": "3 MB"})
    first = api.alice.create(**FORMATS)
    assert put(api.alice, first, 2 * MEBIBYTE, announced=announced).status_code == 204
    second = api.alice.create(**FORMATS)
    assert put(api.alice, second, MEBIBYTE + 1, announced=announced).status_code == 413
    image = api.alice.get(second).json
    assert (image["status"], image["size"], image["checksum"]) == ("queued", None, None)
    assert put(api.alice, second, MEBIBYTE, announced=announced).status_code == 204
    api.alice.delete(first)
    assert put(api.alice, api.alice.create(**FORMATS), 2 * MEBIBYTE, announced=announced).status_code == 204


def test_the_plain_quota_yields_to_limits(make_api: Callable[..., Api]) -> None:
    api = make_api(quotas={"user_storage": "1", "source": "settings"})
    assert put(api.alice, api.alice.create(**FORMATS), 100).status_code == 204


@pytest.mark.parametrize("announced", [True, False])
def test_the_size_of_one(make_api: Callable[..., Api], announced: bool) -> None:
    api = make_api(quotas={"image_size": 1000})
    path = api.alice.create(**FORMATS)
    assert put(api.alice, path, 1001, announced=announced).status_code == 413
    assert put(api.alice, path, 1000, announced=announced).status_code == 204


def test_an_owner_that_changes_takes_the_weight_along(make_api: Callable[..., Api]) -> None:
    api = limited(make_api, image_size_total=10)
    path = api.alice.active(b"\1" * MEBIBYTE)
    api.admin.patch(path, [{"op": "replace", "path": "/owner", "value": api.bob.project}])
    assert usage(api.alice)["image_size_total"] == usage(api.alice)["image_count_total"] == 0
    assert (usage(api.bob)["image_size_total"], usage(api.bob)["image_count_total"]) == (1, 1)


def test_the_callers_project_is_what_is_asked(make_api: Callable[..., Api]) -> None:
    """An administrator who uploads to another project's image is stopped by its own limits."""
    project = make_api().admin.project
    quotas = {"source": "settings", "projects": {project: {"image_size_total": 0}}}
    api = make_api(quotas=quotas)
    path = api.alice.create(**FORMATS)
    assert put(api.admin, path, 2 * MEBIBYTE).status_code == 413
    assert put(api.alice, path, 2 * MEBIBYTE).status_code == 204
