"""Events over a real message broker, to a listener such as other services of a cloud have."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest

oslo_messaging = pytest.importorskip("oslo_messaging")

from oslo_config import cfg  # noqa: E402 - only with oslo.messaging

from pipeline.base.errors import PipelineError  # noqa: E402
from pipeline.imageservice.notifications.notifier import Notifier  # noqa: E402
from pipeline.imageservice.notifications.options import NotificationOptions  # noqa: E402
from tests.environments.daemon import wait_until  # noqa: E402
from tests.environments.fixtures import installed  # noqa: E402
from tests.environments.imageservice import ImageService, image_service  # noqa: E402
from tests.environments.rabbitmq import rabbitmq  # noqa: E402

pytestmark = pytest.mark.server
DATA = b"some data"


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with installed(rabbitmq()) as url:
        yield url


class Heard:
    """Takes notifications as oslo.messaging delivers them, by their level."""

    def __init__(self) -> None:
        self.messages: queue.Queue[tuple[str, str, str, dict[str, Any]]] = queue.Queue()

    def info(self, ctxt: Any, publisher_id: str, event_type: str, payload: Any, metadata: Any) -> None:
        self.messages.put(("INFO", publisher_id, event_type, payload))

    def error(self, ctxt: Any, publisher_id: str, event_type: str, payload: Any, metadata: Any) -> None:
        self.messages.put(("ERROR", publisher_id, event_type, payload))

    def until(self, event_type: str) -> list[tuple[str, str, str, dict[str, Any]]]:
        """What came, up to and with an event of that type."""
        found = [self.messages.get(timeout=30)]
        while found[-1][2] != event_type:
            found.append(self.messages.get(timeout=30))
        return found


@pytest.fixture
def heard(broker: str) -> Iterator[Heard]:
    conf = cfg.ConfigOpts()
    conf([], project="listener", default_config_files=[], default_config_dirs=[])
    transport = oslo_messaging.get_notification_transport(conf, url=broker)
    endpoint = Heard()
    listener = oslo_messaging.get_notification_listener(
        transport, [oslo_messaging.Target(topic="images")], [endpoint], executor="threading"
    )
    listener.start()
    yield endpoint
    listener.stop()
    listener.wait()
    transport.cleanup()


def _settings(url: str) -> dict[str, Any]:
    target = {"kind": "bus", "transport_url": url, "topics": ["images"], "publisher": "image.test"}
    return {"targets": [target]}


@pytest.fixture
def service(broker: str, heard: Heard) -> Iterator[ImageService]:
    with image_service(notifications=_settings(broker)) as running:
        yield running


def test_the_life_of_an_image(service: ImageService, heard: Heard) -> None:
    image_id = service.create(name="told")
    service.upload(image_id, DATA)
    assert service.request("GET", f"/v2/images/{image_id}/file").content == DATA
    sent = heard.until("image.send")
    assert service.request("POST", f"/v2/images/{image_id}/members", json={"member": "bob"}).status_code == 200
    member = heard.until("image.member.create")[-1]
    assert service.request("DELETE", f"/v2/images/{image_id}").status_code == 204
    events = [*sent, member, *heard.until("image.delete")]
    names = [event for _, _, event, _ in events]
    # Requests may be answered by different processes, each of which tells in its own order.
    assert sorted(names) == sorted(
        [
            "image.create",
            "image.prepare",
            "image.upload",
            "image.activate",
            "image.send",
            "image.member.create",
            "image.delete",
        ]
    )
    assert {level for level, _, _, _ in events} == {"INFO"}
    assert {publisher for _, publisher, _, _ in events} == {"image.test"}
    payloads = {event: payload for _, _, event, payload in events}
    active = payloads["image.activate"]
    assert (active["id"], active["name"], active["status"], active["size"]) == (image_id, "told", "active", len(DATA))
    assert payloads["image.create"]["deleted"] is False
    assert payloads["image.delete"]["deleted"] is True
    assert payloads["image.send"]["bytes_sent"] == len(DATA)
    assert payloads["image.member.create"]["member_id"] == "bob"
    assert "locations" not in active


def test_an_import(service: ImageService, heard: Heard) -> None:
    """What workers have to tell comes from another process than what requests have."""
    image_id = service.create()
    octets = {"Content-Type": "application/octet-stream"}
    assert service.request("PUT", f"/v2/images/{image_id}/stage", data=DATA, headers=octets).status_code == 204
    wanted = {"method": {"name": "glance-direct"}}
    assert service.request("POST", f"/v2/images/{image_id}/import", json=wanted).status_code == 202
    events = heard.until("task.success")
    names = ["task.processing", "image.prepare", "image.upload", "image.activate", "task.success"]
    assert [
        event for _, _, event, _ in events if event != "task.create" and not event.startswith("image.create")
    ] == names
    assert events[-1][3]["image_id"] == image_id
    payloads = {event: payload for _, _, event, payload in events}
    assert payloads["image.prepare"]["os_glance_importing_to_stores"] == ["one"]
    assert payloads["image.activate"]["os_glance_importing_to_stores"] == []
    assert payloads["image.activate"]["os_glance_failed_import"] == []
    assert payloads["image.activate"]["backend"] == "one"
    assert payloads["image.activate"]["os_glance_import_task"] == events[-1][3]["id"]


def test_a_broker_that_is_gone_holds_nobody_up() -> None:
    with image_service(notifications=_settings("rabbit://guest:guest-password@127.0.0.1:9/")) as service:
        image_id = service.create()
        assert service.upload(image_id, DATA).status_code == 204
        assert service.show(image_id)["status"] == "active"
        said = "image.create was not sent to the message bus: it does not answer (OperationalError)"
        wait_until(lambda: said in service.log.read_text(), "the log tells of it")
        log = service.log.read_text()
    assert "guest-password" not in log
    assert "Traceback" not in log


@pytest.mark.parametrize("url", ["nonsense://guest:guest-password@127.0.0.1/", "rabbit://guest-password:x:y@:z/"])
def test_a_transport_that_is_none_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(PipelineError, match=r"oslo\.messaging cannot use this transport_url") as refused:
        Notifier(NotificationOptions.model_validate(_settings(url))).check()
    assert "guest-password" not in str(refused.value)
