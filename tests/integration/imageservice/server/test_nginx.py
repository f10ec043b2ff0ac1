"""The service behind nginx, as docs/nginx.conf sets it up."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests

from pipeline.base.home import CHECKOUT
from tests.environments import tls
from tests.environments.daemon import free_port, scratch
from tests.environments.fixtures import installed
from tests.environments.imageservice import ImageService, image_service
from tests.environments.nginx import nginx
from tests.integration.imageservice.server.plain_app import pattern

pytestmark = pytest.mark.server
MIB = 1 << 20
DATA = pattern(5 * MIB + 3)
SPELLINGS = ["/metrics", "//metrics", "/metrics/", "/%6detrics", "/v2/../metrics", "/./metrics?x=y"]


@dataclass(frozen=True)
class Front:
    """nginx and the service behind it."""

    url: str
    authority: Path
    service: ImageService
    image: str

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"X-Auth-Token": "alice-token", **options.pop("headers", {})}
        return requests.request(
            method, self.url + path, headers=headers, verify=str(self.authority), timeout=60, **options
        )


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    port = free_port()
    with scratch("nginx-front") as folder:
        made = tls.for_loopback(folder)
        stores = [{"id": "main", "directories": [str(folder / "images")], "file_mode": 0o644}]
        server = {"processes": 1, "internal_redirect": "/_image_data"}
        with image_service(stores=stores, server=server) as service:
            (folder / "images").chmod(0o755)
            changes = {
                "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
                "/etc/nginx/images.pem": str(made.certificate),
                "/etc/nginx/images.key": str(made.key),
                "http://127.0.0.1:9292": service.url,
                "/var/lib/images/main/;": f"{folder}/images/;",
            }
            text = (CHECKOUT / "docs" / "nginx.conf").read_text()
            for old, new in changes.items():
                assert old in text
                text = text.replace(old, new)
            with installed(nginx(text, port=port)):
                image_id = service.create()
                assert service.upload(image_id, DATA).status_code == 204
                yield Front(f"https://localhost:{port}", made.authority, service, image_id)


def test_uploads_go_through(front: Front) -> None:
    for chunked in (True, False):
        image_id = front.service.create()
        body = iter([DATA[:MIB], DATA[MIB:]]) if chunked else DATA
        headers = {"Content-Type": "application/octet-stream"}
        assert front.request("PUT", f"/v2/images/{image_id}/file", data=body, headers=headers).status_code == 204
        assert front.service.show(image_id)["checksum"] == hashlib.md5(DATA).hexdigest()


def test_nginx_sends_images_itself(front: Front) -> None:
    answer = front.request("GET", f"/v2/images/{front.image}/file")
    assert answer.status_code == 200
    assert answer.content == DATA
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-MD5"] == hashlib.md5(DATA).hexdigest()
    assert answer.headers["X-Openstack-Image-Store"] == "main"
    assert answer.headers["Content-Length"] == str(len(DATA))
    assert answer.headers["Server"].startswith("nginx")
    assert "X-Accel-Redirect" not in answer.headers
    assert "ETag" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-9", 0, 9), (f"bytes={MIB}-{3 * MIB}", MIB, 3 * MIB), ("bytes=-5", len(DATA) - 5, len(DATA) - 1)],
)
def test_ranges(front: Front, asked: str, first: int, last: int) -> None:
    answer = front.request("GET", f"/v2/images/{front.image}/file", headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == DATA[first : last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(DATA)}"


def test_ranges_nginx_does_not_know(front: Front) -> None:
    path = f"/v2/images/{front.image}/file"
    old = front.request("GET", path, headers={"Content-Range": f"bytes 5-9/{len(DATA)}"})
    assert (old.status_code, old.content) == (206, DATA[5:10])
    assert front.request("GET", path, headers={"Range": f"bytes={len(DATA)}-"}).status_code == 416
    assert front.request("GET", path, headers={"Range": "bytes=0-1,3-4"}).status_code == 400


def test_what_is_inside_stays_inside(front: Front) -> None:
    assert front.request("GET", f"/_image_data/main/0/{front.image}").status_code == 404
    denied = front.request("GET", f"/v2/images/{front.image}/file", headers={"X-Auth-Token": "bob-token"})
    assert denied.status_code == 404
    assert DATA[:100] not in denied.content


@pytest.mark.parametrize(
    "path", ["/metrics", "//metrics", "/metrics/", "/%6detrics", "/v2/../metrics", "/./metrics?x=y"]
)
def test_the_numbers_are_not_for_the_front(front: Front, path: str) -> None:
    parts = urlsplit(front.url)
    connection = http.client.HTTPSConnection(
        parts.hostname or "", parts.port, context=ssl.create_default_context(cafile=str(front.authority)), timeout=20
    )
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status in (400, 404) and b"image_service" not in answer.read()
    assert front.service.request("GET", "/metrics").status_code == 200


def test_the_log_has_the_client_and_nginx(front: Front) -> None:
    front.request("GET", "/v2/images?name=through-the-front", headers={"X-Forwarded-For": "10.1.2.3"})
    [line] = [line for line in front.service.log.read_text().splitlines() if "through-the-front" in line]
    # This client is on the proxy's own machine, whose word counts; nginx adds its address behind what it says.
    assert '"from": "10.1.2.3"' in line and '"via": "127.0.0.1"' in line


def test_without_the_proxy_the_service_sends(front: Front) -> None:
    answer = front.service.request("GET", f"/v2/images/{front.image}/file")
    assert answer.content == DATA
    assert "X-Accel-Redirect" not in answer.headers


def test_links_lead_to_the_front(front: Front) -> None:
    answer = front.request("POST", "/v2/images", json={"name": "x"})
    assert answer.status_code == 201
    assert re.fullmatch(rf"{re.escape(front.url)}/v2/images/[0-9a-f-]+", answer.headers["Location"])


@pytest.mark.parametrize("name", ["a/b", "c?d", "e#f", "50%", "g%2Fh", "blank ü ✓"])
def test_names_of_metadata_definitions_come_through(front: Front, name: str) -> None:
    headers = {"X-Auth-Token": "admin-token"}
    made = front.request("POST", "/v2/metadefs/namespaces", json={"namespace": name}, headers=headers)
    assert made.status_code == 201, made.text
    path = f"/v2/metadefs/namespaces/{quote(name, safe='')}"
    assert front.request("GET", path, headers=headers).json()["namespace"] == name
    tag = f"{path}/tags/{quote(name, safe='')}"
    assert front.request("POST", tag, headers=headers).json()["name"] == name
    assert front.request("DELETE", tag, headers=headers).status_code == 204
    assert front.request("DELETE", path, headers=headers).status_code == 204
