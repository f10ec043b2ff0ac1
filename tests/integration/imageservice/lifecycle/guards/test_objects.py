"""Whose the data in stores is: by what it is, not by the words of an address. On each of the databases."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.images import locations, objects
from pipeline.imageservice.catalog.images.objects import ObjectState
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.importing.maintenance.reconcile import reconcile
from pipeline.imageservice.lifecycle import deletion
from pipeline.imageservice.lifecycle.guards import objects as held
from pipeline.imageservice.lifecycle.locations import location_import
from pipeline.imageservice.model.images import now
from pipeline.imageservice.stores.errors import ObjectInUse, StoreUnavailable
from tests.integration.imageservice.api.conftest import database_url, make_api  # noqa: F401
from tests.integration.imageservice.api.images.test_locations import FORMATS, add, post, remove, task_of
from tests.integration.imageservice.api.shelf import ShelfApi, shelf_api
from tests.integration.imageservice.api.world import Api, image_id

DATA = b"the data of alice"


@pytest.fixture
def shelf(make_api: Callable[..., Api], tmp_path: Path) -> ShelfApi:  # noqa: F811
    return shelf_api(make_api, tmp_path)


def rows(shelf: ShelfApi, image: str) -> dict[str, ObjectState]:
    """The names that an image has in the table, and what is known of each."""
    with shelf.api.service.database.read() as connection:
        return {one.name: one.state for one in objects.of_image(connection, image_id(image))}


def work(shelf: ShelfApi) -> None:
    service = shelf.api.service
    while claim := service.database.write(
        lambda connection: task_queue.claim(connection, [location_import.TYPE], "test", location_import.LEASE_SECONDS)
    ):
        location_import.run(service, claim, service.buffers, CancelToken())


def test_no_spelling_makes_another_images_data_ones_own(shelf: ShelfApi) -> None:
    alice, bob, nova = shelf.api.alice, shelf.api.bob, shelf.api.nova
    theirs, registered = alice.active(DATA), alice.create(**FORMATS)
    # One that our writers named after its image, and one whose name says nothing of whose it is.
    assert alice.patch(registered, add(shelf.put("registered", DATA))).status_code == 200
    for url in (*shelf.spellings(image_id(theirs)), *shelf.spellings("registered")):
        for store in ({}, {"store": "main"}, {"store": "again"}):
            mine = bob.create(**FORMATS)
            refused = bob.patch(mine, [{"op": "add", "path": "/locations/-", "value": {"url": url, "metadata": store}}])
            assert refused.status_code in (400, 409), url
            replaced = [{"op": "replace", "path": "/locations", "value": [{"url": url, "metadata": store}]}]
            assert bob.patch(mine, replaced).status_code in (400, 409)
        mine = nova.create(**FORMATS)
        assert post(nova, mine, url).status_code == 202
        assert task_of(nova, mine)["status"] == "failure"
        assert nova.get(mine).json["status"] == "queued"
        assert nova.delete(mine).status_code == 204
    assert alice.get(f"{theirs}/file").content == alice.get(f"{registered}/file").content == DATA
    assert shelf.main.deleted == []


def test_an_image_may_list_its_data_twice_and_has_it_deleted_once(shelf: ShelfApi) -> None:
    alice = shelf.api.alice
    plain, *others = shelf.spellings("ours")
    shelf.put("ours")
    path = alice.create(**FORMATS)
    assert alice.patch(path, add(plain)).status_code == 200
    for url in others:
        assert alice.patch(path, add(url)).status_code == 200, url
    assert shelf.api.admin.patch(path, remove(0)).status_code == 200
    assert shelf.main.deleted == [] and alice.get(f"{path}/file").content == b"data"
    assert alice.delete(path).status_code == 204
    deleted = [url for store in shelf.api.service.stores for url in store.deleted]  # type: ignore[attr-defined]
    assert len(deleted) == 1 and not (shelf.folder / "ours").exists()


def test_two_that_claim_one_object_at_once(shelf: ShelfApi) -> None:
    url = shelf.put("wanted")
    paths = [person.create(**FORMATS) for person in (shelf.api.alice, shelf.api.bob)]
    start, answers = threading.Barrier(2), []

    def claim(person: Any, path: str, spelling: str) -> None:
        start.wait()
        answers.append(person.patch(path, add(spelling)).status_code)

    threads = [
        threading.Thread(target=claim, args=arguments)
        for arguments in zip((shelf.api.alice, shelf.api.bob), paths, (url, shelf.spellings("wanted")[1]), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 409]


def _of_before(shelf: ShelfApi, path: str, url: str) -> None:
    """A location as an older version of the service writes it, which makes an image active."""
    service, moment = shelf.api.service, now()
    row: dict[str, Any] = {"image_id": image_id(path), "store": "main", "url": url, "url_digest": locations.digest(url)}
    row |= {"metadata": {}, "state": "active", "created_at": moment, "updated_at": moment}
    service.database.write(lambda connection: connection.execute(insert(tables.locations), row))
    active = tables.images.update().where(tables.images.c.id == image_id(path)).values(status="active", size=4)
    service.database.write(lambda connection: connection.execute(active))


def test_duplicates_of_before_stay_readable_and_go_with_the_last(shelf: ShelfApi) -> None:
    alice, bob = shelf.api.alice, shelf.api.bob
    shelf.put("both")
    plain, odd = shelf.spellings("both")[:2]
    first, second = alice.create(**FORMATS), bob.create(**FORMATS)
    _of_before(shelf, first, plain)
    _of_before(shelf, second, odd)
    assert shelf.api.carl.patch(shelf.api.carl.create(**FORMATS), add(plain)).status_code == 409
    assert alice.get(f"{first}/file").content == bob.get(f"{second}/file").content == b"data"
    told = {(one.image, one.detail) for one in reconcile(shelf.api.service) if one.kind == "shared"}
    assert {(image_id(first), f"with {image_id(second)}"), (image_id(second), f"with {image_id(first)}")} <= told
    assert alice.delete(first).status_code == 204
    assert bob.get(f"{second}/file").content == b"data"
    assert not [one for one in reconcile(shelf.api.service) if one.image in (image_id(first), image_id(second))]
    assert bob.delete(second).status_code == 204
    assert not (shelf.folder / "both").exists()


def test_an_object_of_before_belongs_to_its_image(shelf: ShelfApi) -> None:
    """Written by an older version, asked for by a stranger before anything else has happened."""
    path = shelf.api.alice.create(**FORMATS)
    _of_before(shelf, path, shelf.put(image_id(path)))
    for url in shelf.spellings(image_id(path)):
        assert shelf.api.bob.patch(shelf.api.bob.create(**FORMATS), add(url)).status_code == 409
    assert rows(shelf, path) == {image_id(path): ObjectState.KEPT}


@pytest.mark.parametrize("state", [ObjectState.WRITING, ObjectState.STAGED, ObjectState.DELETING, ObjectState.SPENT])
def test_what_is_on_its_way_is_nobodys_to_take(shelf: ShelfApi, state: ObjectState) -> None:
    service = shelf.api.service
    name = f"{uuid.uuid4()}.3"
    url = shelf.put(name)
    identity = service.stores["main"].identify(url)
    service.database.write(
        lambda connection: objects._insert(connection, identity, str(uuid.uuid4()), "main", "a" * 32, state)
    )
    for spelling in shelf.spellings(name):
        assert shelf.api.bob.patch(shelf.api.bob.create(**FORMATS), add(spelling)).status_code == 409


def test_the_names_of_other_images_are_theirs(shelf: ShelfApi) -> None:
    """What a failed upload left, or the place that the next one takes."""
    theirs = shelf.api.alice.create(**FORMATS)
    for name in (image_id(theirs), f"{image_id(theirs)}.1"):
        url = shelf.put(name)
        assert shelf.api.bob.patch(shelf.api.bob.create(**FORMATS), add(url)).status_code == 409
    assert shelf.api.alice.patch(theirs, add(shelf.put(image_id(theirs)))).status_code == 200


def test_data_that_was_refused_is_free_again(shelf: ShelfApi) -> None:
    url = shelf.put("free", DATA)
    mine = shelf.api.nova.create(**FORMATS)
    post(shelf.api.nova, mine, url, os_hash_algo="md5", os_hash_value="0" * 32)
    refused = shelf.api.bob.patch(shelf.api.bob.create(**FORMATS), add(url))
    assert refused.status_code == 409
    work(shelf)
    assert shelf.api.nova.get(mine).json["status"] == "queued"
    assert (shelf.folder / "free").read_bytes() == DATA
    assert shelf.api.bob.patch(shelf.api.bob.create(**FORMATS), add(url)).status_code == 200


def test_what_an_older_version_deleted_is_free_again(shelf: ShelfApi) -> None:
    """It knows nothing of the table of objects."""
    url = shelf.put("old")
    mine = shelf.api.alice.create(**FORMATS)
    assert shelf.api.alice.patch(mine, add(url)).status_code == 200
    service = shelf.api.service
    gone = tables.locations.delete().where(tables.locations.c.image_id == image_id(mine))
    service.database.write(lambda connection: connection.execute(gone))
    assert shelf.api.bob.patch(shelf.api.bob.create(**FORMATS), add(url)).status_code == 200


def test_a_deletion_that_fails_leaves_all_as_it_was(shelf: ShelfApi) -> None:
    path = shelf.api.alice.active(DATA)

    def refuse(uri: str) -> None:
        raise ObjectInUse("somebody stands on it")

    shelf.main.before_delete = refuse
    assert shelf.api.alice.delete(path).status_code == 409
    shelf.main.before_delete = lambda uri: None
    assert shelf.api.alice.get(path).json["status"] == "active"
    assert rows(shelf, path) == {image_id(path): ObjectState.KEPT}
    assert shelf.api.alice.delete(path).status_code == 204
    assert rows(shelf, path) == {image_id(path): ObjectState.SPENT}


def test_what_somebody_else_is_deleting_does_not_come_back(shelf: ShelfApi) -> None:
    """One that was paused before it deletes, another that fails meanwhile: the image does not come back to life."""
    path, service = shelf.api.alice.active(DATA), shelf.api.service
    paused: list[bool] = []

    def meet(uri: str) -> None:
        if not paused:
            paused.append(True)
            # While this one is about to delete, a worker does the same, and gets no answer.
            with pytest.raises(StoreUnavailable):
                fail = lambda uri: (_ for _ in ()).throw(StoreUnavailable("no answer"))  # noqa: E731
                shelf.main.before_delete = fail
                with service.database.read() as connection:
                    (place,) = locations.of_image(connection, image_id(path))
                deletion.remove_data(service, place)
            shelf.main.before_delete = lambda uri: None
            raise StoreUnavailable("no answer")

    shelf.main.before_delete = meet
    assert shelf.api.alice.delete(path).status_code == 503
    assert shelf.api.alice.get(path).status_code == 404
    assert deletion.finish_pending(service, older_than=-1) >= 1
    assert not (shelf.folder / image_id(path)).exists()


def test_a_deletion_asks_the_table_once_more(shelf: ShelfApi) -> None:
    """A deletion of an image that was brought back meanwhile deletes nothing."""
    service, alice = shelf.api.service, shelf.api.alice
    path = alice.active(DATA)
    with service.database.read() as connection:
        (place,) = locations.of_image(connection, image_id(path))
    deletion.remove_data(service, place)
    assert alice.get(f"{path}/file").content == DATA


def test_every_location_has_its_identity(shelf: ShelfApi) -> None:
    """However it came: nothing is left to be found out later."""
    alice = shelf.api.alice
    path = alice.active(DATA)
    other = alice.create(**FORMATS)
    assert alice.patch(other, add(shelf.put("x"))).status_code == 200
    service = shelf.api.service
    ids = [image_id(path), image_id(other)]
    with service.database.read() as connection:
        query = select(tables.locations.c.identity).where(tables.locations.c.image_id.in_(ids))
        found = list(connection.execute(query).scalars())
        assert len(found) == 2 and None not in found
        known = select(tables.objects.c.digest).where(tables.objects.c.digest.in_(found))
        assert set(connection.execute(known).scalars()) == set(found)
    assert held.register(service) == 0
