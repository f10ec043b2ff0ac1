"""A process that lost its lease deletes nothing that lives, whenever it wakes up; and leaves nothing of its own."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.images import objects
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.importing.job.request import TYPE
from pipeline.imageservice.importing.job.run import run_import
from pipeline.imageservice.lifecycle import deletion
from pipeline.imageservice.lifecycle.transfer import recovery
from pipeline.imageservice.stores.base import Store
from pipeline.imageservice.stores.errors import StoreFull
from tests.environments.ceph import ACCESS_KEY, SECRET_KEY
from tests.integration.imageservice.api.conftest import database_url, make_api  # noqa: F401
from tests.integration.imageservice.api.images.test_locations import FORMATS
from tests.integration.imageservice.api.world import Api, image_id
from tests.integration.imageservice.lifecycle.guards.paused import Pause, everything_in, let_leases_end, pause_stores

OCTETS = {"Content-Type": "application/octet-stream"}
DATA, OTHER = b"the first bytes" * 1000, b"what came later" * 1000
_serial = itertools.count(1)

Nodes = Callable[[], tuple[Api, Api]]


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.server)])
def nodes(request: pytest.FixtureRequest, make_api: Callable[..., Api], tmp_path: Path) -> Iterator[Nodes]:  # noqa: F811
    """Two nodes, made anew for each point; their stores are ``one`` and ``two``."""
    stores: list[dict[str, Any]] = [{"id": name, "directories": [str(tmp_path / name)]} for name in ("one", "two")]
    if request.param == "s3":
        if request.node.callspec.params["database_url"] != "sqlite":
            pytest.skip("the databases are tried with files")
        host = request.getfixturevalue("gateway")
        keys = {"host": host, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "part_size": 5 << 20}
        common = {"type": "s3", "bucket": f"paused-{next(_serial)}", "create_bucket": True, **keys}
        stores = [{"id": "one", **common}, {"id": "two", **common, "bucket": f"{common['bucket']}-two"}]
    made: list[Api] = []

    def make() -> tuple[Api, Api]:
        while made:
            made.pop().service.close()
        made.extend(make_api(stores=stores, data={"upload_lease": 3600}) for _ in range(2))
        return made[0], made[1]

    yield make


def put(api: Api, path: str, data: bytes, where: str = "file") -> int:
    return api.alice.call("PUT", f"{path}/{where}", data=data, headers=OCTETS).status_code


def work(api: Api) -> None:
    """What a worker does about all imports that wait."""
    service = api.service
    while task := service.database.write(
        lambda connection: task_queue.claim(
            connection, [TYPE], service.leases.holder, service.leases.seconds, node=service.own_node
        )
    ):
        run_import(service, task, CancelToken())


def points(run: Callable[[Pause], None], most: int) -> list[int]:
    """At which points to pause: ``most`` of all there are, evenly."""
    counting = Pause()
    run(counting)
    step = max(1, -(-counting.count // most))
    return list(range(0, counting.count, step))


def assert_kept(api: Api, path: str, data: bytes) -> None:
    """The image has its data, and no store holds anything else."""
    shown = api.alice.get(path).json
    assert (shown["status"], shown["size"]) == ("active", len(data))
    assert api.alice.get(f"{path}/file").content == data
    service = api.service
    with service.database.read() as connection:
        places = connection.execute(select(tables.locations).where(tables.locations.c.image_id == image_id(path))).all()
        for store in service.stores:
            keys = {place.identity for place in places if place.store == store.id}
            named = [one.name for one in objects.of_image(connection, image_id(path)) if one.digest in keys]
            assert [name for name in everything_in(store) if image_id(path) in name] == named
    assert [name for name in everything_in(service.staging) if image_id(path) in name] == []


@pytest.mark.parametrize("again", [DATA, OTHER], ids=["the same", "others"])
def test_an_upload_that_sleeps(nodes: Nodes, again: bytes) -> None:
    """Another cleans up, the user uploads anew; then the first one goes on from where it was."""

    def run(pause: Pause) -> None:
        first, second = nodes()
        path = first.alice.create(**FORMATS)

        anew: list[bool] = []

        def meanwhile() -> None:
            let_leases_end(second)
            if recovery.recover(second.service):
                anew.append(True)
                assert second.alice.get(path).json["status"] == "queued"
                assert put(second, path, again) == 204

        pause._meanwhile = meanwhile
        pause_stores(first, pause)
        status = put(first, path, DATA)
        assert status == (410 if anew else 204), pause.happened
        assert_kept(second, path, again if anew else DATA)

    for at in points(run, 12):
        run(Pause(at))


def test_an_upload_that_fails_and_sleeps(nodes: Nodes) -> None:
    """While it undoes what it has written."""

    def run(pause: Pause) -> None:
        first, second = nodes()
        path = first.alice.create(**{**FORMATS, "disk_format": "qcow2"})

        def meanwhile() -> None:
            let_leases_end(second)
            recovery.recover(second.service)
            change = [{"op": "replace", "path": "/disk_format", "value": "raw"}]
            assert second.alice.patch(path, change).status_code == 200
            assert put(second, path, OTHER) == 204

        pause._meanwhile = meanwhile
        pause_stores(first, pause)
        assert put(first, path, DATA) == (410 if pause.happened else 415)
        if pause.happened:
            assert_kept(second, path, OTHER)

    for at in points(run, 8):
        run(Pause(at))


def test_one_that_cleans_up_and_sleeps(nodes: Nodes) -> None:
    """The sweep after a dead process: whoever did it a second time has let the user upload anew."""

    def run(pause: Pause) -> None:
        first, second = nodes()
        path = second.alice.create(**FORMATS)
        killed = Pause()
        pause_stores(first, killed)

        class Killed(BaseException):
            pass

        def die() -> None:
            raise Killed

        killed._at, killed._meanwhile = 7, die  # once the object is there, before the catalog knows
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pipeline.imageservice.lifecycle.transfer.upload_claim._fail", lambda service, claim: False)
            with pytest.raises(Killed):
                put(first, path, DATA)
        let_leases_end(second)
        cleaner = dataclasses.replace(second.service)
        api = dataclasses.replace(second, service=cleaner)
        stores = dict(cleaner.stores._stores)

        def meanwhile() -> None:
            cleaner.stores._stores.update(stores)
            let_leases_end(second)
            recovery.recover(second.service)
            assert put(second, path, OTHER) == 204

        pause._meanwhile = meanwhile
        pause_stores(api, pause)
        recovery.recover(cleaner)
        cleaner.stores._stores.update(stores)
        cleaner.stores.default = stores["one"]
        object.__setattr__(cleaner, "staging", getattr(cleaner.staging, "_store", cleaner.staging))
        if not pause.happened:
            assert put(second, path, OTHER) == 204
        assert_kept(second, path, OTHER)

    for at in points(run, 8):
        run(Pause(at))


def test_an_import_that_undoes_and_sleeps(nodes: Nodes) -> None:
    """One store failed, so the other's copy is taken back: by a worker that wakes up when all is over and anew."""

    def run(pause: Pause) -> None:
        first, second = nodes()
        path = second.alice.create(**FORMATS)
        assert put(second, path, DATA, "stage") == 204
        body = {"method": {"name": "glance-direct"}, "stores": ["one", "two"], "all_stores_must_succeed": True}
        assert second.alice.post(f"{path}/import", body).status_code == 202
        full = first.service.stores["two"]

        def refuse(*_: Any, **more: Any) -> Any:
            raise StoreFull("two is full")

        full.writer = refuse  # type: ignore[method-assign]

        def meanwhile() -> None:
            second.service.stores["two"].writer = refuse  # type: ignore[method-assign]
            # The other store's thread is not paused here: a row that it just writes is passed over, and what it writes
            # renews the lease. A worker asks again.
            for _ in range(100):
                let_leases_end(second)
                work(second)
                if second.alice.get(path).json["status"] != "importing":
                    break
                time.sleep(0.05)
            del second.service.stores["two"].writer
            assert second.alice.get(path).json["status"] == "queued"
            assert put(second, path, OTHER) == 204

        pause._meanwhile = meanwhile
        pause_stores(first, pause)
        work(first)
        if not pause.happened:
            assert first.alice.get(path).json["status"] == "queued"
            return
        assert_kept(second, path, OTHER)

    for at in points(run, 14):
        run(Pause(at))


def test_a_deletion_that_sleeps(nodes: Nodes) -> None:
    """A copy is deleted by two; the one that sleeps wakes up when the image has been copied there anew."""

    def run(pause: Pause) -> None:
        first, second = nodes()
        path = second.alice.active(DATA, **FORMATS)
        copy = {"method": {"name": "copy-image"}, "stores": ["two"]}
        assert second.admin.post(f"{path}/import", copy).status_code == 202
        work(second)
        assert second.alice.get(path).json["stores"] == "one,two"

        def meanwhile() -> None:
            deletion.finish_pending(second.service, older_than=-1)
            if second.alice.get(path).json["stores"] == "one":
                assert second.admin.post(f"{path}/import", copy).status_code == 202
                work(second)

        pause._meanwhile = meanwhile
        pause_stores(first, pause)
        assert first.admin.delete(f"/v2/stores/two/{image_id(path)}").status_code == 204
        assert_kept(second, path, DATA)

    for at in points(run, 4):
        run(Pause(at))


def test_names_are_used_once(nodes: Nodes) -> None:
    """The first attempt bears the image's id, each later one a number that only grows, whatever became of it."""
    api, _ = nodes()
    path = api.alice.create(**{**FORMATS, "disk_format": "qcow2"})
    names: list[str] = []
    store: Store = api.service.stores["one"]
    writer = store.writer

    def noting(name: str, **more: Any) -> Any:
        names.append(name)
        return writer(name, **more)

    store.writer = noting  # type: ignore[method-assign]
    for _ in range(3):
        assert put(api, path, DATA) == 415
    assert api.alice.patch(path, [{"op": "replace", "path": "/disk_format", "value": "raw"}]).status_code == 200
    assert put(api, path, DATA) == 204
    first, *later = names
    assert first == image_id(path)
    numbers = [int(name.removeprefix(f"{first}.")) for name in later]
    assert len(numbers) == 3 and numbers == sorted(set(numbers))
    assert_kept(api, path, DATA)
