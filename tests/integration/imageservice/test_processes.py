"""What only shows with several processes: numbers summed over all of them, and writers that never meet a lock."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.environments.deployed_service import ImageService, image_service

pytestmark = pytest.mark.server
TOKEN = {"X-Auth-Token": "token-of-processes"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageService]:
    token = {"name": "t", "token": TOKEN["X-Auth-Token"], "user": "u", "project": "p", "roles": ["admin"]}
    settings = {"identity": {"kind": "static", "tokens": [token]}, "server": {"processes": 2}}
    with image_service(tmp_path_factory.mktemp("processes"), settings) as running:
        yield running


def test_writers_of_several_processes_never_see_a_lock(service: ImageService) -> None:
    """Each by a connection of its own, so that both processes get some."""
    images = f"{service.url}/v2/images"
    path = f"{service.url}{requests.post(images, json={}, headers=TOKEN, timeout=60).json()['self']}"
    patch = {**TOKEN, "Content-Type": "application/openstack-images-v2.1-json-patch"}

    def write(number: int) -> tuple[int, int]:
        made = requests.post(images, json={"name": str(number)}, headers=TOKEN, timeout=60)
        operation = [{"op": "add", "path": f"/p{number}", "value": "x"}]
        changed = requests.patch(path, data=json.dumps(operation), headers=patch, timeout=60)
        return made.status_code, changed.status_code

    with ThreadPoolExecutor(24) as pool:
        answers = Counter(pool.map(write, range(120)))
    assert answers == {(201, 200): 120}
    found = requests.get(path, headers=TOKEN, timeout=60).json()
    assert sum(name.startswith("p") and name[1:].isdigit() for name in found) == 120
    assert "database is locked" not in service.log.read_text()


def test_numbers_are_those_of_all_processes(service: ImageService) -> None:
    before = _count(service)
    for _ in range(40):
        requests.get(f"{service.url}/v2/schemas/image", headers=TOKEN, timeout=60)
    # Whichever process is asked, it knows of all forty.
    assert {_count(service) - before for _ in range(10)} == {40}


def _count(service: ImageService) -> int:
    text = requests.get(f"{service.url}/metrics", timeout=60).text
    name = 'image_service_requests_total{method="GET",path="/v2/schemas/image",status="200"}'
    return next((int(float(line.split()[-1])) for line in text.splitlines() if line.startswith(name)), 0)
