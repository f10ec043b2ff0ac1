"""What others are told while an import runs: of each store, with those to come and those that failed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.environments.daemon import scratch, wait_until
from tests.environments.imageservice import ImageService, image_service
from tests.environments.webhook import Hook, webhook
from tests.integration.imageservice.importing.conftest import STORES, ask, ended, settings, stage
from tests.integration.imageservice.importing.test_crash import kill_all, settled
from tests.integration.imageservice.importing.test_import import break_store, mend_store
from tests.integration.imageservice.importing.web import Web
from tests.integration.imageservice.server.plain_app import pattern

pytestmark = pytest.mark.server
DATA = pattern(3 << 20)
STEPS = ("image.prepare", "image.upload", "image.activate")
Event = dict[str, Any]


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with webhook() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def told(hook: Hook) -> Iterator[ImageService]:
    """A service that tells the hook and its log."""
    targets = [{"kind": "webhook", "url": hook.url, "attempts": 1}, {"kind": "log"}]
    with (
        scratch("events") as folder,
        image_service(folder, **settings(folder), notifications={"targets": targets}) as running,
    ):
        yield running
        assert "Traceback" not in running.log.read_text()


def of(hook: Hook, task: Event) -> list[Event]:
    """What was sent of a task, once its end was."""

    def over() -> bool:
        return any(
            event["event_type"] in ("task.success", "task.failure") and event["payload"]["id"] == task["id"]
            for event in hook.events
        )

    wait_until(over, "the end of the task is sent", seconds=20)
    return steps(hook, task)


def steps(hook: Hook, task: Event) -> list[Event]:
    return [event for event in hook.events if event["payload"].get("os_glance_import_task") == task["id"]]


def begin(service: ImageService, origin: Web, method: str, user: str = "admin", **more: Any) -> str:
    image_id = service.create(user)
    if method == "glance-direct":
        assert stage(service, image_id, DATA, user).status_code == 204
    if method == "copy-image":
        assert service.upload(image_id, DATA, user).status_code == 204
    origin.files["told.img"] = DATA
    stores = [name for name in STORES if method != "copy-image" or name != "one"]
    answer = ask(service, image_id, method, user, uri=origin.url("/told.img"), stores=stores, **more)
    assert answer.status_code == 202, answer.text
    return image_id


def stores_of(events: list[Event], event_type: str, priority: str = "INFO") -> list[str]:
    found = [event for event in events if (event["event_type"], event["priority"]) == (event_type, priority)]
    return [event["payload"]["backend"] for event in found]


@pytest.mark.parametrize("allow_failure", [True, False])
@pytest.mark.parametrize("method", ["web-download", "glance-direct", "copy-image"])
def test_each_store_is_told_of(told: ImageService, hook: Hook, origin: Web, method: str, allow_failure: bool) -> None:
    image_id = begin(told, origin, method, all_stores_must_succeed=not allow_failure)
    events = of(hook, ended(told, image_id, "admin"))
    wanted = sorted(STORES if method != "copy-image" else STORES[1:])
    for name in STEPS:
        assert sorted(stores_of(events, name)) == wanted
    first, last = events[0]["payload"], events[-1]["payload"]
    assert (events[0]["event_type"], events[-1]["event_type"]) == (STEPS[0], STEPS[-1])
    assert sorted(first["os_glance_importing_to_stores"]) == wanted
    assert (last["os_glance_importing_to_stores"], last["os_glance_failed_import"]) == ([], [])
    assert last["status"] == "active"
    assert {event["payload"]["id"] for event in events} == {image_id}
    assert {(event["project_id"], event["user_id"]) for event in events} == {("admin", "admin")}
    left = [set(event["payload"]["os_glance_importing_to_stores"]) for event in events]
    assert all(after <= before for before, after in itertools.pairwise(left))
    for event in events:
        # A store that was told to have the data is not to come any more.
        waits = event["payload"]["backend"] in event["payload"]["os_glance_importing_to_stores"]
        assert waits is (event["event_type"] == "image.prepare")
    assert logged(told, image_id) == [event["message_id"] for event in events]


def logged(service: ImageService, image_id: str) -> list[str]:
    """The ids of an import's events that the log has."""
    lines = [line for line in service.log.read_text().splitlines() if image_id in line and "message_id" in line]
    found = [json.loads(line[line.index("{") :]) for line in lines]
    return [event["message_id"] for event in found if "os_glance_import_task" in event["payload"]]


@pytest.mark.parametrize("allow_failure", [True, False])
@pytest.mark.parametrize("method", ["web-download", "glance-direct", "copy-image"])
def test_a_store_that_fails_is_told_of(
    told: ImageService, hook: Hook, origin: Web, method: str, allow_failure: bool
) -> None:
    folder = break_store(told, "two")
    try:
        image_id = begin(told, origin, method, all_stores_must_succeed=not allow_failure)
        task = ended(told, image_id, "admin")
    finally:
        mend_store(folder)
    events = of(hook, task)
    failed = [event for event in events if event["priority"] == "ERROR"]
    assert {event["event_type"] for event in failed} == {"image.upload"}
    assert all(event["payload"]["error"] for event in failed)
    [two] = [event["payload"] for event in failed if event["payload"]["backend"] == "two"]
    assert "two" in two["os_glance_failed_import"]
    assert "two" not in two["os_glance_importing_to_stores"]
    others = sorted(set(STORES) - {"two"} - ({"one"} if method == "copy-image" else set()))
    assert sorted(stores_of(events, "image.prepare")) == sorted([*others, "two"])
    if allow_failure:
        assert task["status"] == "success"
        assert sorted(stores_of(events, "image.upload")) == others
        assert sorted(stores_of(events, "image.activate")) == others
        assert len(failed) == 1
        assert events[-1]["payload"]["os_glance_failed_import"] == ["two"]
    else:
        # What others had got is taken back, and told as failed with the whole.
        assert task["status"] == "failure"
        assert stores_of(events, "image.activate") == []
        assert sorted(stores_of(events, "image.upload", "ERROR")) == sorted([*others, "two"])


@pytest.mark.parametrize(
    "moment", ["image.upload", *(pytest.param(name, marks=pytest.mark.long) for name in (STEPS[0], STEPS[2]))]
)
def test_killed_while_an_event_is_sent(told: ImageService, hook: Hook, origin: Web, moment: str) -> None:
    """Nothing is left out; what is sent twice has one id, and says the same."""
    hook.held.clear()
    hook.released.clear()
    hook.hold = moment
    image_id = begin(told, origin, "web-download", "alice")
    assert hook.held.wait(30)
    kill_all(told)
    hook.hold = ""
    hook.released.set()
    assert settled(told, image_id) == "active"
    task = ended(told, image_id)
    wanted = sorted((name, store) for name in STEPS for store in STORES)

    def told_of() -> list[tuple[str, str]]:
        found = {event["message_id"]: event for event in steps(hook, task)}
        return sorted((event["event_type"], event["payload"]["backend"]) for event in found.values())

    wait_until(lambda: told_of() == wanted, "every event is sent", seconds=60)
    by_id: dict[str, list[Event]] = {}
    for event in steps(hook, task):
        by_id.setdefault(event["message_id"], []).append(event)
    assert all(event == same[0] for same in by_id.values() for event in same)
    assert len([same for same in by_id.values() if len(same) > 1]) <= 1
