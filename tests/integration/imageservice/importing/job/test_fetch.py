"""Fetches that fail on the way: what the task tells of them, and what becomes of the image."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.environments.daemon import scratch
from tests.environments.imageservice import ImageService, image_service
from tests.integration.imageservice.fetching.troubled_server import DATA, HALF, Reply, Trouble, troubled
from tests.integration.imageservice.importing.conftest import ask, assert_clean, ended, settings

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def hasty() -> Iterator[ImageService]:
    with scratch("fetches") as folder:
        download = {"idle_seconds": 2, "pause_seconds": 0.05}
        with image_service(folder, **settings(folder, download=download)) as running:
            yield running
            assert "Traceback" not in running.log.read_text()


def test_each_failed_attempt_stands_in_the_task(hasty: ImageService) -> None:
    replies = [Reply(raw=b"", then="reset"), Reply(503, body=b""), Reply(cut=HALF, tag=None), Reply(tag=None)]
    with troubled(lambda asked, _: replies[asked.number], ranges=False) as server:
        image_id = hasty.create(disk_format="raw")
        assert ask(hasty, image_id, "web-download", uri=server.url("/x.img"), stores=["one"]).status_code == 202
        task = ended(hasty, image_id)
    assert task["status"] == "success"
    history = task["progress"]["fetch"]["history"]
    causes = ["before it answered", "status 503 (Service Unavailable)", f"after {HALF} of {len(DATA)} bytes"]
    for number, (line, cause) in enumerate(zip(history, causes, strict=True), 1):
        assert f" attempt {number} of 5: " in line and cause in line and "; again after " in line
    assert hasty.request("GET", f"/v2/images/{image_id}/file", "alice").content == DATA


@pytest.mark.parametrize(
    ("trouble", "cause", "attempts"),
    [
        (lambda asked, _: Reply(cut=HALF, tag=None), "broke the connection off", 5),
        (lambda asked, _: Reply(body=b""), "empty file (0 bytes)", 0),
        (lambda asked, _: Reply(body=b"", chunked=True), "empty file (0 bytes)", 0),
        (lambda asked, _: Reply(403, body=b"secrets"), "status 403 (Forbidden)", 0),
    ],
    ids=["cut each time", "empty", "empty in chunks", "forbidden"],
)
def test_a_fetch_that_fails_leaves_the_image_as_it_was(
    hasty: ImageService, trouble: Trouble, cause: str, attempts: int
) -> None:
    with troubled(trouble, ranges=True) as server:
        image_id = hasty.create(disk_format="raw")
        ask(hasty, image_id, "web-download", uri=server.url("/x.img"), stores=["one"])
        task = ended(hasty, image_id)
    assert task["status"] == "failure" and cause in task["message"]
    assert len(task.get("progress", {}).get("fetch", {}).get("history", [])) == attempts
    assert_clean(hasty, image_id)


def test_other_alphabets_in_a_uri(hasty: ImageService) -> None:
    with troubled(lambda asked, _: Reply(), ranges=True) as server:
        image_id = hasty.create(disk_format="raw")
        uri = server.url("/x.img/bücher-日本.img")
        assert ask(hasty, image_id, "web-download", uri=uri, stores=["one"]).status_code == 202
        assert ended(hasty, image_id)["status"] == "success"
        assert server.asked["/x.img/b%C3%BCcher-%E6%97%A5%E6%9C%AC.img"] == 1
    refused = ask(hasty, hasty.create(disk_format="raw"), "web-download", uri="http://user:hush@127.0.0.1/x?hush#hush")
    assert refused.status_code == 400 and "hush" not in refused.text
