"""What is declared raw and is another format: where nobody asked for real raw it is taken, and told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.importing.job.request import TYPE
from pipeline.imageservice.importing.job.run import run_import
from tests.integration.imageservice.api.world import Api, Person, image_id, message
from tests.integration.imageservice.lifecycle.transfer.test_upload import qcow2

OCTETS = {"Content-Type": "application/octet-stream"}
RAW = {"disk_format": "raw", "container_format": "bare"}
OLD = {f"x-image-meta-{name}": value for name, value in {"name": "x", **RAW}.items()}
DISK = bytes(1 << 20)


@pytest.fixture
def make_old(make_api: Callable[..., Api]) -> Callable[..., Api]:
    return lambda **data: make_api(api={"version_1": True}, data=data)


def by_file(person: Person, data: bytes) -> Any:
    return person.call("PUT", f"{person.create(**RAW)}/file", data=data, headers=OCTETS)


def by_stage(person: Person, data: bytes) -> Any:
    return person.call("PUT", f"{person.create(**RAW)}/stage", data=data, headers=OCTETS)


def by_old_post(person: Person, data: bytes) -> Any:
    return person.call("POST", "/v1/images", data=data, headers={**OLD, **OCTETS})


def by_old_put(person: Person, data: bytes) -> Any:
    return person.call("PUT", f"/v1/images/{image_id(person.create(**RAW))}", data=data, headers=OCTETS)


WAYS = (by_file, by_stage, by_old_post, by_old_put)


@pytest.mark.parametrize("way", WAYS)
def test_the_answer_and_the_log_tell_what_it_is(
    make_old: Callable[..., Api], way: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    person = make_old().alice
    with caplog.at_level(logging.WARNING):
        answer = way(person, qcow2())
    assert answer.status_code in (200, 201, 204)
    assert answer.headers["x-openstack-image-content"] == "qcow2"
    assert "was declared raw, its content is qcow2" in caplog.text
    caplog.clear()
    assert "x-openstack-image-content" not in way(person, DISK).headers
    assert "declared raw" not in caplog.text


@pytest.mark.parametrize("way", WAYS)
def test_it_is_refused_where_raw_must_be_raw(make_old: Callable[..., Api], way: Callable[..., Any]) -> None:
    person = make_old(raw_must_be_raw=True).alice
    answer = way(person, qcow2())
    assert answer.status_code == 415
    assert "was declared raw, its content is qcow2" in message(answer)
    assert way(person, DISK).status_code in (200, 201, 204)


@pytest.mark.parametrize(("data", "said"), [(qcow2(), "declared raw, its content is qcow2"), (DISK, None)])
def test_the_task_tells_what_it_is(api: Api, data: bytes, said: str | None) -> None:
    path, service = api.alice.create(**RAW), api.service
    assert api.alice.call("PUT", f"{path}/stage", data=data, headers=OCTETS).status_code == 204
    assert api.alice.post(f"{path}/import", {"method": {"name": "glance-direct"}}).status_code == 202
    task = service.database.write(
        lambda connection: task_queue.claim(
            connection, {TYPE}, service.leases.holder, service.leases.seconds, node=service.own_node
        )
    )
    assert task is not None and task.image_id == image_id(path)
    run_import(service, task, CancelToken())
    assert api.alice.get(path).json["status"] == "active"
    (shown,) = api.alice.get(f"{path}/tasks").json["tasks"]
    assert shown["status"] == "success"
    history = shown["progress"].get("inspect", {}).get("history") or [None]
    assert [text and text.partition(" ")[2] for text in history] == [said]
