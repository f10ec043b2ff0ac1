"""Publications that a cloud imports: sent to its staging, or fetched from this machine; a bar for each store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from pipeline.base.errors import PipelineError
from pipeline.cli.handlers import publish as publish_handler
from pipeline.engine.record import events
from pipeline.publishing import publish_many
from pipeline.publishing.cloud.file_server import serve_file
from pipeline.publishing.plan.plan import METHODS, PublishOptions
from pipeline.publishing.publish_one import PublishResult
from pipeline.publishing.sources import build as build_source
from pipeline.publishing.transaction.transaction import PublishOutcome
from pipeline.recipes.nightly import Target
from tests.environments.imageservice import ImageService, image_service
from tests.integration.publishing.conftest import Desk, write_clouds

pytestmark = pytest.mark.server


class Seen:
    """A monitor that remembers."""

    def __init__(self) -> None:
        self.events: list[events.Event] = []

    def event(self, event: events.Event) -> None:
        self.events.append(event)

    def tick(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def fetching() -> Iterator[ImageService]:
    """A service that may fetch from this machine."""
    fetch = {"allowed_networks": ["127.0.0.1/32"], "allowed_ports": [], "disallowed_ports": [22]}
    with image_service(fetch=fetch) as running:
        yield running


def publish(
    desk: Desk, service: ImageService, content: str, stores: tuple[str, ...], method: str
) -> tuple[PublishResult, Seen]:
    write_clouds(desk.home.root.parent / "clouds.yaml", {"here": (service.url, "admin-token")})
    desk.services["here"] = service
    sender, seen = desk.sender, Seen()
    source = build_source.of_build(desk.build(content), desk.home, sender.publisher, desk.now)
    (publish_result,) = publish_many.publish_to_all(
        source, [Target(cloud="here", stores=stores)], sender, monitors=[seen], options=PublishOptions(method=method)
    )
    return publish_result, seen


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stores", [("one", "two"), pytest.param((), marks=pytest.mark.long)])
def test_a_build_is_imported(desk: Desk, fetching: ImageService, method: str, stores: tuple[str, ...]) -> None:
    publish_result, seen = publish(desk, fetching, f"{method}{stores}", stores, method)
    assert (publish_result.outcome, publish_result.error) == (PublishOutcome.PUBLISHED, None)
    image = desk.newest()
    assert set(image.stores) == (set(stores) or {"one"})
    (task,) = fetching.request("GET", f"/v2/images/{image.id}/tasks", "admin").json()["tasks"]
    assert task["input"]["import_req"]["method"]["name"] == method
    bars = {event.step for event in seen.events if isinstance(event, events.StepProgress)}
    ended = {event.step for event in seen.events if isinstance(event, events.StepFinished)}
    assert {f"publish to here, store {name}" for name in stores} <= bars & ended


def test_a_service_that_may_not_fetch_from_here_says_so(desk: Desk, service: ImageService) -> None:
    publish_result, _ = publish(desk, service, "refused", ("one", "two"), "web-download")
    assert publish_result.outcome is PublishOutcome.FAILED
    assert publish_result.error is not None
    assert "does not pass filtering" in str(publish_result.error)
    assert desk.images() == []


def test_a_method_that_is_not_offered(desk: Desk) -> None:
    with image_service(imports={"methods": ["copy-image"]}) as closed:
        publish_result, _ = publish(desk, closed, "closed", ("one",), "glance-direct")
    assert publish_result.error is not None
    assert "does not offer the import method glance-direct" in publish_result.error.message


def test_words_of_the_command_line() -> None:
    assert publish_handler.chosen_method("web-download") == "web-download"
    assert (publish_handler.all_or("a,b", all_stores=False), publish_handler.all_or("", all_stores=True)) == (
        "a,b",
        "all",
    )
    with pytest.raises(PipelineError, match="it is one of glance-direct, web-download"):
        publish_handler.chosen_method("copy-image")
    with pytest.raises(PipelineError, match="contradict each other"):
        publish_handler.all_or("a", all_stores=True)


def test_what_is_offered_and_to_whom(tmp_path: Path) -> None:
    file = tmp_path / "disk.raw"
    file.write_bytes(bytes(range(256)) * 1000)
    data = file.read_bytes()
    with serve_file(file, "digest", "http://127.0.0.1:9292/v2") as uri:
        whole = requests.get(uri, timeout=30)
        assert (whole.status_code, whole.content, whole.headers["ETag"]) == (200, data, '"digest"')
        rest = requests.get(uri, headers={"Range": "bytes=1000-", "If-Range": '"digest"'}, timeout=30)
        assert (rest.status_code, rest.content) == (206, data[1000:])
        assert rest.headers["Content-Range"] == f"bytes 1000-{len(data) - 1}/{len(data)}"
        other = requests.get(uri, headers={"Range": "bytes=1000-", "If-Range": '"another"'}, timeout=30)
        assert (other.status_code, other.content) == (200, data)
        for guess in (uri.rpartition("/")[0], uri[:-1], uri.replace("disk", "%2e%2e/disk"), uri.partition("/disk")[0]):
            assert requests.get(guess, timeout=30).status_code == 404
    with pytest.raises(requests.ConnectionError):
        requests.get(uri, timeout=5)
