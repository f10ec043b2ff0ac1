"""The API's first version over real connections, whose headers have underscores in their names."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.environments.daemon import wait_until
from tests.environments.imageservice import ImageService, image_service

pytestmark = pytest.mark.server
DATA = b"some data"


@pytest.fixture(scope="module")
def service() -> Iterator[ImageService]:
    with image_service(api={"version_1": True}) as running:
        yield running


def _post(service: ImageService, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=30)
    sent = {
        "X-Auth-Token": "alice-token",
        "Content-Type": "application/octet-stream",
        "x-image-meta-name": "old",
        "x-image-meta-disk_format": "raw",
        "x-image-meta-container_format": "bare",
        "x-image-meta-min_ram": "64",
        "x-image-meta-property-os_distro": "debian",
        **{name.replace("__", "-"): value for name, value in headers.items()},
    }
    connection.request("POST", "/v1/images", DATA, sent)
    answer = connection.getresponse()
    return answer, answer.read()


def test_metadata_arrive(service: ImageService) -> None:
    answer, body = _post(service)
    assert answer.status == 201, body
    image = json.loads(body)["image"]
    assert (image["disk_format"], image["container_format"], image["min_ram"]) == ("raw", "bare", 64)
    assert image["properties"] == {"os_distro": "debian"}
    assert image["status"] == "active"
    head = service.request("HEAD", f"/v1/images/{image['id']}").headers
    assert (head["x-image-meta-disk_format"], head["x-image-meta-property-os_distro"]) == ("raw", "debian")
    assert service.show(image["id"])["min_ram"] == 64


def test_a_client_that_goes_away_leaves_nothing(service: ImageService) -> None:
    known = {image["id"] for image in service.request("GET", "/v2/images?limit=500", "admin").json()["images"]}
    connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=30)
    connection.putrequest("POST", "/v1/images")
    for name, value in {
        "X-Auth-Token": "alice-token",
        "Content-Type": "application/octet-stream",
        "Content-Length": "1000000",
        "x-image-meta-name": "gone",
        "x-image-meta-disk_format": "raw",
        "x-image-meta-container_format": "bare",
    }.items():
        connection.putheader(name, value)
    connection.endheaders(b"some of it")

    def there() -> list[str]:
        return [
            image["name"]
            for image in service.request("GET", "/v2/images?limit=500", "admin").json()["images"]
            if image["id"] not in known
        ]

    wait_until(lambda: there() == ["gone"], "the upload has begun")
    connection.close()
    wait_until(lambda: there() == [], "nothing is left")


def test_no_other_header_may_have_an_underscore(service: ImageService) -> None:
    """Behind a proxy that sets the right spelling, the other one would come from the client."""
    answer, _body = _post(service, X_Forwarded_Proto="https", X_Auth_Token="admin-token")
    assert answer.status == 201
    assert str(answer.headers["Location"]).startswith(f"{service.url}/v1/images/")
    image_id = str(answer.headers["Location"]).rpartition("/")[2]
    assert service.show(image_id)["owner"] == "alice"
