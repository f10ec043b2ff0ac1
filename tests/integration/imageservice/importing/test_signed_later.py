"""A signature that an image gets while its data is on the way."""

from __future__ import annotations

import json

import pytest

from pipeline.signing.image_signature import PROPERTIES
from tests.environments.daemon import wait_until
from tests.environments.imageservice import ImageService
from tests.integration.imageservice.importing.conftest import ask, ended, leftovers
from tests.integration.imageservice.importing.web import Web
from tests.integration.imageservice.lifecycle.transfer.test_upload import signed
from tests.integration.imageservice.server.plain_app import pattern

pytestmark = pytest.mark.server
DATA = pattern(4 << 20)


def test_it_does_not_go_unchecked(service: ImageService, origin: Web) -> None:
    origin.files["later.img"] = DATA
    image_id = service.create()
    assert ask(service, image_id, "web-download", uri=origin.url("/drip/later.img")).status_code == 202
    wait_until(lambda: leftovers(service, image_id) != [], "some data")
    change = [{"op": "add", "path": f"/{name}", "value": signed(service, b"other data")[name]} for name in PROPERTIES]
    headers = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    answer = service.request("PATCH", f"/v2/images/{image_id}", data=json.dumps(change), headers=headers)
    assert answer.status_code == 200, answer.text
    origin.hurry("later.img")
    assert ended(service, image_id)["status"] == "failure"
    assert service.show(image_id)["status"] == "queued"
    assert leftovers(service, image_id) == []
