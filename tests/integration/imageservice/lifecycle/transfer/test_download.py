"""Downloads: whole images and ranges, byte for byte, from whichever store has them."""

from __future__ import annotations

import hashlib
import http.client
import os
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.environments.daemon import wait_until
from tests.environments.imageservice import ImageService, image_service
from tests.integration.imageservice.server.plain_app import pattern

pytestmark = pytest.mark.server
MIB = 1 << 20
SIZE = 3 * MIB + 77
DATA = pattern(SIZE)


@pytest.fixture(scope="module")
def image(service: ImageService) -> str:
    return stored(service, DATA)


def stored(service: ImageService, data: bytes, user: str = "alice", **fields: str) -> str:
    image_id = service.create(user, **fields)
    assert service.upload(image_id, data, user).status_code == 204
    return image_id


def path_of(image_id: str) -> str:
    return f"/v2/images/{image_id}/file"


def test_the_whole(service: ImageService, image: str) -> None:
    answer = service.request("GET", path_of(image))
    assert answer.status_code == 200
    assert answer.content == DATA
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.headers["Content-MD5"] == hashlib.md5(DATA).hexdigest()
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-9", 0, 9),
        (f"bytes=0-{SIZE - 1}", 0, SIZE - 1),
        (f"bytes=0-{SIZE}", 0, SIZE - 1),
        ("bytes=5-99999999999", 5, SIZE - 1),
        (f"bytes={MIB - 1}-{MIB}", MIB - 1, MIB),
        (f"bytes={MIB}-{2 * MIB}", MIB, 2 * MIB),
        ("bytes=100-", 100, SIZE - 1),
        ("bytes=0-", 0, SIZE - 1),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
        ("bytes=-1", SIZE - 1, SIZE - 1),
        ("bytes=-77", SIZE - 77, SIZE - 1),
        (f"bytes=-{SIZE}", 0, SIZE - 1),
        ("bytes=-99999999999", 0, SIZE - 1),
    ],
)
def test_ranges(service: ImageService, image: str, asked: str, first: int, last: int) -> None:
    answer = service.request("GET", path_of(image), headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == DATA[first : last + 1]
    assert answer.headers["Content-Length"] == str(last - first + 1)
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.headers["Content-MD5"] == hashlib.md5(DATA).hexdigest()


def test_ranges_on_one_connection(service: ImageService, image: str) -> None:
    with service.session() as session:
        for first in range(0, SIZE, 400_001):
            answer = session.get(service.url + path_of(image), headers={"Range": f"bytes={first}-{first + 1000}"})
            assert answer.content == DATA[first : first + 1001]


def test_the_old_way_to_ask_for_a_range(service: ImageService, image: str) -> None:
    for whole in (str(SIZE), "*"):
        answer = service.request("GET", path_of(image), headers={"Content-Range": f"bytes 10-19/{whole}"})
        assert answer.status_code == 206
        assert answer.content == DATA[10:20]


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": f"bytes={SIZE}-"},
        {"Range": f"bytes={SIZE}-{SIZE + 5}"},
        {"Range": "bytes=9-5"},
        {"Range": "bytes=-0"},
        {"Range": "bytes=-"},
        {"Range": "bytes=a-b"},
        {"Range": "bytes=1"},
        {"Range": "bytes"},
        {"Range": "lines=1-5"},
        {"Range": "bytes=+1-5"},
        {"Range": "bytes=1-5 6"},
        {"Range": "bytes=" + "9" * 30 + "-"},
        {"Content-Range": "bytes */100"},
        {"Content-Range": f"bytes 5-{SIZE}/{SIZE}"},
        {"Content-Range": "bytes 9-5/100"},
        {"Content-Range": "nonsense"},
    ],
)
def test_ranges_that_cannot_be_had(service: ImageService, image: str, headers: dict[str, str]) -> None:
    answer = service.request("GET", path_of(image), headers=headers)
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


def test_several_ranges_are_refused(service: ImageService, image: str) -> None:
    assert service.request("GET", path_of(image), headers={"Range": "bytes=0-1,3-4"}).status_code == 400


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9"}, {"Content-Range": "bytes */100"}])
def test_an_image_without_data(service: ImageService, headers: dict[str, str]) -> None:
    answer = service.request("GET", path_of(service.create()), headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")


def test_an_empty_image(service: ImageService) -> None:
    image_id = stored(service, b"")
    answer = service.request("GET", path_of(image_id))
    assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (200, b"", "0")
    assert service.request("GET", path_of(image_id), headers={"Range": "bytes=0-"}).status_code == 416


def test_who_may_download(service: ImageService, image: str) -> None:
    assert service.request("GET", path_of(image), "bob").status_code == 404
    assert service.request("GET", path_of(image), "rita").status_code == 403
    assert service.request("GET", path_of(image), "admin").status_code == 200
    assert service.request("GET", path_of(str(uuid.uuid4()))).status_code == 404
    public = stored(service, b"public", "admin", visibility="public")
    assert service.request("GET", path_of(public), "bob").content == b"public"
    assert service.request("GET", path_of(public), "rita").status_code == 403


def test_a_deactivated_image(service: ImageService) -> None:
    image_id = stored(service, b"data")
    assert service.request("POST", f"/v2/images/{image_id}/actions/deactivate").status_code == 204
    assert service.request("GET", path_of(image_id)).status_code == 403
    assert service.request("GET", path_of(image_id), "admin").content == b"data"
    assert service.request("POST", f"/v2/images/{image_id}/actions/reactivate").status_code == 204
    assert service.request("GET", path_of(image_id)).content == b"data"


def test_what_a_download_does_not_take(service: ImageService, image: str) -> None:
    assert service.request("GET", path_of(image), data=b"x").status_code == 400
    answer = service.request("HEAD", path_of(image))
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, PUT"


def test_a_preferred_store(service: ImageService, image: str) -> None:
    for prefer in ("one", "two,one", "two,,one,", ""):
        assert service.request("GET", f"{path_of(image)}?prefer={prefer}").content == DATA
    assert service.request("GET", f"{path_of(image)}?prefer=three").status_code == 400


def test_the_store_that_is_asked_for_and_no_other(service: ImageService) -> None:
    image_id = stored(service, DATA)
    for query in ("", "?prefer=two,one", "?store=one"):
        answer = service.request("GET", path_of(image_id) + query)
        assert (answer.content, answer.headers["X-Openstack-Image-Store"]) == (DATA, "one")
    part = service.request("GET", f"{path_of(image_id)}?store=one", headers={"Range": "bytes=0-9"})
    assert (part.content, part.headers["X-Openstack-Image-Store"]) == (DATA[:10], "one")
    for store, said in (("two", "has no data in store two"), ("five", "Store for identifier five not found")):
        answer = service.request("GET", f"{path_of(image_id)}?store={store}")
        assert answer.status_code == 404
        assert said in answer.text
    assert service.request("GET", f"{path_of(image_id)}?store=one&prefer=one").status_code == 400
    assert service.request("GET", f"{path_of(service.create())}?store=two").status_code == 204
    assert service.request("GET", f"{path_of(image_id)}?store=one", "bob").status_code == 404


def test_a_store_that_lost_its_copy_is_not_stood_in_for(service: ImageService) -> None:
    image_id = stored(service, DATA)
    body = {"method": {"name": "copy-image"}, "stores": ["two"]}
    assert service.request("POST", f"/v2/images/{image_id}/import", "admin", json=body).status_code == 202
    wait_until(lambda: set(service.show(image_id)["stores"].split(",")) == {"one", "two"}, "it is in both")
    file = service.folder / "stores" / "two" / image_id
    os.truncate(file, 0)
    short = service.request("GET", f"{path_of(image_id)}?store=two")
    assert short.status_code == 503
    assert "Store two cannot deliver" in short.text
    file.unlink()
    lost = service.request("GET", f"{path_of(image_id)}?store=two")
    assert lost.status_code == 404
    assert "Store two has lost its data" in lost.text
    assert service.request("GET", f"{path_of(image_id)}?prefer=two").content == DATA


def test_lost_data_is_an_error(service: ImageService) -> None:
    image_id = stored(service, b"data")
    (service.folder / "stores" / "one" / image_id).unlink()
    answer = service.request("GET", path_of(image_id))
    assert answer.status_code == 500
    assert str(service.folder) not in answer.text


@pytest.mark.parametrize("rest", [0, 1000])
def test_shortened_data_is_never_a_whole_answer(service: ImageService, rest: int) -> None:
    image_id = stored(service, pattern(MIB))
    os.truncate(service.folder / "stores" / "one" / image_id, rest)
    assert service.request("GET", path_of(image_id)).status_code == 500


def test_data_that_gets_shorter_while_it_is_read_breaks_the_connection(service: ImageService) -> None:
    image_id = stored(service, bytes(64 * MIB))
    location = urlsplit(service.url)
    client = http.client.HTTPConnection(location.hostname or "", location.port, timeout=30)
    client.request("GET", path_of(image_id), headers={"X-Auth-Token": "alice-token"})
    answer = client.getresponse()
    assert answer.status == 200
    answer.read(MIB)
    os.truncate(service.folder / "stores" / "one" / image_id, 20 * MIB)
    with pytest.raises(http.client.IncompleteRead):
        answer.read()


def test_a_download_in_one_process_while_it_is_deleted_in_another(service: ImageService) -> None:
    image_id = stored(service, data := pattern(64 * MIB))
    location = urlsplit(service.url)
    client = http.client.HTTPConnection(location.hostname or "", location.port, timeout=30)
    client.request("GET", path_of(image_id), headers={"X-Auth-Token": "alice-token"})
    answer = client.getresponse()
    assert service.request("DELETE", f"/v2/images/{image_id}").status_code == 204
    assert not (service.folder / "stores" / "one" / image_id).exists()
    assert answer.read() == data


def test_the_list_of_stores(service: ImageService) -> None:
    for user in ("alice", "rita", "bob"):
        answer = service.request("GET", "/v2/info/stores", user)
        assert answer.json() == {"stores": [{"id": "one", "default": "true"}, {"id": "two"}]}
    assert service.request("GET", "/v2/info/stores", data=b"x").status_code == 400


def test_the_details_of_stores_are_for_operators(service: ImageService) -> None:
    assert service.request("GET", "/v2/info/stores/detail").status_code == 403
    stores = service.request("GET", "/v2/info/stores/detail", "admin").json()["stores"]
    assert stores[0]["id"] == "one"
    assert stores[0]["type"] == "file"
    assert stores[0]["weight"] == 0
    assert stores[0]["properties"]["data_dir"] == str(service.folder / "stores" / "one")


def test_a_single_store_has_no_list(tmp_path: Path) -> None:
    stores = [{"id": "only", "directories": [str(tmp_path)]}]
    with image_service(stores=stores, server={"processes": 1, "workers": 0}) as service:
        assert service.request("GET", "/v2/info/stores", "admin").status_code == 404
        assert service.request("GET", "/v2/info/stores/detail", "admin").status_code == 404
        assert service.request("GET", "/v2/info/stores/detail").status_code == 403
        image_id = stored(service, b"data")
        assert "stores" not in service.show(image_id)
        assert service.request("GET", f"{path_of(image_id)}?prefer=only").status_code == 400
        assert service.request("GET", f"{path_of(image_id)}?store=only").headers["X-Openstack-Image-Store"] == "only"
        assert service.request("DELETE", f"/v2/stores/only/{image_id}", "admin").status_code == 404
        assert service.upload(service.create(), b"x", **{"X-Image-Meta-Store": "whatever"}).status_code == 204
        assert service.request("DELETE", f"/v2/images/{image_id}").status_code == 204


def test_the_last_copy_stays(service: ImageService, image: str) -> None:
    assert service.request("DELETE", f"/v2/stores/one/{image}", "admin").status_code == 403
    assert service.request("DELETE", f"/v2/stores/one/{image}").status_code == 403
    assert service.request("DELETE", f"/v2/stores/three/{image}", "admin").status_code == 409
    assert service.request("DELETE", f"/v2/stores/one/{uuid.uuid4()}", "admin").status_code == 404
    assert service.request("DELETE", f"/v2/stores/one/{service.create()}", "admin").status_code == 409
    assert service.request("GET", path_of(image)).content == DATA


def test_deleting_an_image_deletes_its_data(service: ImageService) -> None:
    image_id = stored(service, b"data")
    assert service.request("DELETE", f"/v2/images/{image_id}").status_code == 204
    wait_until(lambda: not [path for path in service.files() if image_id in path.name], "no data", seconds=5)
