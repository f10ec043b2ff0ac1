"""What operators see: the log, health, numbers, notifications."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.environments.webhook import Hook, webhook
from tests.integration.imageservice.api.world import Api, image_id


def lines(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == name]


def test_one_line_a_request(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        path = api.alice.create(name="secret name")
        api.bob.get(f"{path}?x=y", headers={"X-Openstack-Request-Id": "req-mine"})
        api.nobody.get(path)
    made, missed, refused = lines(caplog, "imageservice.access")
    assert made["image"] == image_id(path)
    assert (made["method"], made["path"], made["status"]) == ("POST", "/v2/images", 201)
    assert (made["user"], made["project"]) == ("alice", api.alice.project)
    assert (missed["request"], missed["status"], missed["query"]) == ("req-mine", 404, "x=y")
    assert "No image found" in missed["why"]
    assert refused["status"] == 401
    assert "user" not in refused
    assert "secret name" not in caplog.text
    assert str(api.alice.token) not in caplog.text


def test_the_line_has_the_client_behind_a_trusted_proxy(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        api.nobody.get("/versions")
        api.nobody.get("/versions", headers={"X-Forwarded-For": "10.0.0.1, 93.184.216.34"})
        api.nobody.get("/versions", headers={"Via": "1.1 x"})
    direct, behind, untold = lines(caplog, "imageservice.access")
    assert (direct["from"], "via" in direct) == ("127.0.0.1", False)
    assert (behind["from"], behind["via"]) == ("93.184.216.34", "127.0.0.1")
    assert (untold["from"], untold["via"]) == ("127.0.0.1", "127.0.0.1")


def test_a_clients_mistake_is_that_line_and_no_more(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    mistakes: list[tuple[Any, ...]] = [
        ("POST", "/v2/images", []),
        ("POST", "/v2/images", {"status": "active"}),
        ("GET", "/v2/images?limit=x"),
        ("GET", "/v2/images/%F0%9F%98%80"),
        ("PUT", "/v2/images/x/file"),
        ("GET", "/v2/nothing"),
        ("HEAD", "/v2/images"),
        ("DELETE", "/v2/images/x"),
    ]
    with caplog.at_level(logging.DEBUG, logger="imageservice"):
        for mistake in mistakes:
            assert 400 <= api.alice.call(*mistake).status_code < 500
    ours = [record for record in caplog.records if record.name.startswith("imageservice")]
    assert [(record.name, record.levelno) for record in ours] == [("imageservice.access", logging.INFO)] * len(mistakes)
    assert all(json.loads(record.getMessage())["why"] for record in ours)


def test_a_line_cannot_be_forged(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        api.alice.get("/v2/images/x%0AFORGED", headers={"X-Openstack-Request-Id": "req-a\x1b[31m"})
    [record] = [record for record in caplog.records if record.name == "imageservice.access"]
    assert "\n" not in record.getMessage()
    assert "\x1b" not in record.getMessage()
    assert json.loads(record.getMessage())["path"].endswith("x\nFORGED")


def test_a_fault_of_ours_is_an_error_with_its_cause(
    api: Api, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any, **_options: Any) -> None:
        raise RuntimeError("a fault within")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.imageservice.catalog.images.listing.page", fail)
        answer = api.alice.get("/v2/images")
    assert answer.status_code == 500
    assert "a fault within" not in answer.text
    assert "a fault within" in caplog.text


def test_health(make_api: Callable[..., Api], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.imageservice.api.health._SECONDS", 0)
    monkeypatch.setattr("pipeline.imageservice.stores.health._FRESH", 0)
    mark = tmp_path / "out"
    api = make_api(
        stores=[
            {"id": "main", "directories": [str(tmp_path / "a")]},
            {"id": "other", "directories": [str(tmp_path / "b")]},
        ],
        api={"disable_file": str(mark)},
    )
    answer = api.nobody.get("/healthcheck", headers={"Accept": "*/*"})
    assert (answer.status_code, answer.text) == (200, "OK")
    assert api.nobody.call("HEAD", "/healthcheck").status_code == 200
    found = api.nobody.get("/healthcheck").json
    assert found == {"status": "OK", "checks": {"database": "OK", "store main": "OK", "store other": "OK"}}
    mark.touch()
    assert api.nobody.get("/healthcheck").status_code == 503
    mark.unlink()
    (tmp_path / "b").rmdir()
    (tmp_path / "b").touch()
    found = api.nobody.get("/healthcheck")
    assert found.status_code == 200
    assert found.json["checks"]["store other"] != "OK"
    (tmp_path / "a").rmdir()
    (tmp_path / "a").touch()
    broken = api.nobody.get("/healthcheck", headers={"Accept": "text/plain"})
    assert broken.status_code == 503
    assert broken.text.startswith("store main: ")
    assert str(tmp_path) not in broken.text


def test_metrics(make_api: Callable[..., Api]) -> None:
    api = make_api(api={"metrics_networks": ["127.0.0.0/8"]})
    path = api.alice.active(b"12345")
    api.bob.get(path)
    text = api.nobody.get("/metrics").text
    assert 'image_service_requests_total{method="POST",path="/v2/images",status="201"} 1.0' in text
    assert 'image_service_requests_total{method="GET",path="/v2/images/{image_id}",status="404"} 1.0' in text
    assert 'image_service_request_seconds_count{method="POST",path="/v2/images"} 1.0' in text
    numbers = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("image_service_"))
    assert int(numbers["image_service_images"]) >= 1
    assert int(numbers["image_service_stored_bytes"]) >= 5
    assert 'image_service_tasks{status="pending"}' in numbers
    closed = make_api(api={"metrics_networks": ["10.0.0.0/8"]})
    assert closed.nobody.get("/metrics").status_code == 404
    assert make_api(api={"metrics": False}).nobody.get("/metrics").status_code == 404


def test_metrics_are_not_for_those_behind_proxies(make_api: Callable[..., Api]) -> None:
    believing = make_api(api={"metrics_networks": ["127.0.0.0/8", "10.1.0.0/16"]})
    strict = make_api(api={"metrics_networks": ["0.0.0.0/0"]}, server={"trusted_proxies": []})

    def status(api: Api, **headers: str) -> int:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return int(api.nobody.get("/metrics", headers=named).status_code)

    assert status(strict) == 200
    for headers in ({"X_Forwarded_For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}, {"Via": "1.1 x"}):
        assert status(strict, **headers) == 404
    assert status(believing, X_Forwarded_For="10.1.2.3") == 200
    assert status(believing, X_Forwarded_For="10.1.2.3, 93.184.216.34") == 404
    assert status(believing, X_Forwarded_For="93.184.216.34, 10.1.2.3") == 200
    for headers in ({"Via": "1.1 x"}, {"X_Forwarded_Proto": "https"}, {"X_Forwarded_For": "unknown"}):
        assert status(believing, **headers) == 404


@pytest.mark.parametrize("proxies", [["10.9.0.0/16"], ["::1"], [], ["127.0.0.1", "::1"], ["*"]])
def test_what_a_proxy_that_is_not_trusted_passes_on_never_gets_metrics(
    make_api: Callable[..., Api], proxies: list[str]
) -> None:
    """Peers are 127.0.0.1 here, as of a proxy on the same machine that nobody named."""
    api = make_api(api={"metrics_networks": ["0.0.0.0/0", "::/0"]}, server={"trusted_proxies": proxies})
    trusted = proxies in (["127.0.0.1", "::1"], ["*"])
    chains = {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"}
    silent = {
        "Via": "1.1 x",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "images.example",
        "X-Forwarded-Prefix": "/",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Server": "x",
        "X-Forwarded": "for=127.0.0.1",
        "X-Real-IP": "127.0.0.1",
    }
    assert api.nobody.get("/metrics").status_code == 200
    for spelling in (str, str.lower, str.upper):
        for name, text in {**chains, **silent}.items():
            for value in (text, ""):
                known = trusted and name in chains and value
                answer = api.nobody.get("/metrics", headers={spelling(name): value})
                assert answer.status_code == (200 if known else 404), (spelling(name), value)
    for one, text in chains.items():
        for other, more in silent.items():
            answer = api.nobody.get("/metrics", headers={one: text, other: more})
            assert answer.status_code == (200 if trusted else 404), (one, other)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with webhook() as receiver:
        yield receiver


def test_events(make_api: Callable[..., Api], hook: Hook) -> None:
    target = {"kind": "webhook", "url": hook.url, "secret": "shared secret"}
    api = make_api(notifications={"targets": [target]})
    path = api.alice.create(name="x", os_distro="debian", tags=["t"], disk_format="raw", container_format="bare")
    api.alice.upload(path, b"data")
    api.alice.patch(path, [{"op": "replace", "path": "/name", "value": "y"}])
    api.alice.get(f"{path}/file")
    api.alice.post(f"{path}/members", {"member": api.bob.project})
    api.bob.put(f"{path}/members/{api.bob.project}", {"status": "accepted"})
    api.alice.delete(f"{path}/members/{api.bob.project}")
    api.alice.delete(path)
    api.alice.get(path)
    expected = [
        "image.create",
        "image.prepare",
        "image.upload",
        "image.activate",
        "image.update",
        "image.send",
        "image.member.create",
        "image.member.update",
        "image.member.delete",
        "image.delete",
    ]
    events = hook.wait(len(expected))
    assert [event["event_type"] for event in events] == expected
    assert {event["priority"] for event in events} == {"INFO"}
    assert {event["project_id"] for event in events} == {api.alice.project, api.bob.project}
    payload = events[0]["payload"]
    assert (payload["id"], payload["name"], payload["status"]) == (image_id(path), "x", "queued")
    assert payload["properties"] == {"os_distro": "debian"}
    assert set(payload) >= {
        *(
            "id",
            "name",
            "status",
            "created_at",
            "updated_at",
            "deleted",
            "min_disk",
            "min_ram",
            "protected",
            "checksum",
        ),
        *("owner", "disk_format", "container_format", "size", "tags", "visibility", "properties"),
    }
    assert [event["payload"].get("backend") for event in events[:5]] == [None, "main", "main", "main", None]
    assert (events[-1]["payload"]["status"], events[-1]["payload"]["deleted"]) == ("deleted", True)
    sent = next(event for event in events if event["event_type"] == "image.send")["payload"]
    assert (sent["bytes_sent"], sent["receiver_tenant_id"]) == (4, api.alice.project)
    headers, body = hook.received[0]
    assert headers["X-Signature-SHA256"] == hmac.new(b"shared secret", body, hashlib.sha256).hexdigest()
    assert b"file:///" not in b"".join(body for _headers, body in hook.received)


def test_a_hook_that_fails_is_tried_again(make_api: Callable[..., Api], hook: Hook) -> None:
    hook.failures = 1
    api = make_api(notifications={"targets": [{"kind": "webhook", "url": hook.url}], "disabled": ["image.update"]})
    path = api.alice.create()
    api.alice.patch(path, [{"op": "replace", "path": "/name", "value": "y"}])
    api.alice.delete(path)
    assert [event["event_type"] for event in hook.wait(2)] == ["image.create", "image.delete"]


def test_a_hook_that_is_gone_holds_nothing_up(make_api: Callable[..., Api], caplog: pytest.LogCaptureFixture) -> None:
    target = {"kind": "webhook", "url": "http://127.0.0.1:9/x", "attempts": 1}
    api = make_api(notifications={"targets": [target, {"kind": "log"}]})
    with caplog.at_level(logging.INFO):
        path = api.alice.create()
        assert api.service.notifier.drain(10)
    assert "image.create was not sent to the web hook on 127.0.0.1: ConnectionError" in caplog.text
    [event] = lines(caplog, "imageservice.events")
    assert event["payload"]["id"] == image_id(path)
