"""The adapter for block storage, with stand-ins for the driver it drives: no block storage runs on a test machine.

One is the reference's driver for files, which has the same interface; the other fails as it is told.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("glance_store", reason="the extra `cinder` is not installed")

import glance_store.exceptions
from glance_store.location import StoreLocation
from oslo_config import cfg

from pipeline.base.errors import PipelineError
from pipeline.imageservice.stores.base import DriverContext, Store
from pipeline.imageservice.stores.cinder.options import CinderOptions
from pipeline.imageservice.stores.cinder.store import CinderStore
from pipeline.imageservice.stores.errors import (
    BadLocation,
    ObjectInUse,
    ObjectMissing,
    StoreError,
    StoreFull,
    StoreUnavailable,
    WriteRefused,
)
from pipeline.imageservice.stores.registry import make_store
from tests.unit.imageservice.stores.contract import attempt, pattern, read, write

MIB = 1 << 20


def options(**more: Any) -> CinderOptions:
    login = {"auth_url": "https://id.example.org/v3", "password": "hush-hush"}
    return CinderOptions.model_validate({"id": "volumes", **login, **more})


class OnFiles(CinderStore):
    """With the driver for files."""

    schemes = ("file",)

    def __init__(self, folder: Path, **more: Any) -> None:
        folder.mkdir(exist_ok=True)
        settings = options(more={"filesystem_store_datadir": str(folder)}, **more)
        super().__init__(settings, driver="glance_store._drivers.filesystem.Store")


class Volume(StoreLocation):  # type: ignore[misc]
    """An address, read as the driver for block storage reads it."""

    def parse_uri(self, uri: str) -> None:
        try:
            uuid.UUID(uri.rpartition("/")[2])
        except ValueError:
            raise glance_store.exceptions.BadStoreUri(message=uri) from None


class Failing:
    """A driver that raises what it is told to."""

    error: Exception

    def __init__(self) -> None:
        self.conf = cfg.ConfigOpts()

    def configure(self, re_raise_bsc: bool = False) -> None: ...

    def get_store_location_class(self) -> Any:
        return Volume

    def fail(self, *arguments: Any, **more: Any) -> Any:
        raise self.error

    add = get = get_size = delete = fail


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = OnFiles(tmp_path / "volumes")
    made.check()
    return made


def test_round_trip(store: Store) -> None:
    for size in (0, 1, MIB - 1, MIB, MIB + 1, 9 * MIB + 17):
        for known in (True, False):
            data = pattern(size, size)
            stored = write(store, str(uuid.uuid4()), data, known=known)
            assert stored.size == store.size(stored.uri) == size
            assert read(store, stored.uri) == data
            store.delete(stored.uri)


def test_a_part_is_cut_out_of_the_whole(store: Store) -> None:
    data = pattern(3 * MIB)
    stored = write(store, "x", data)
    for offset, length in ((0, 1), (MIB - 1, 2), (MIB + 5, None), (3 * MIB, 0), (5, 2 * MIB)):
        assert read(store, stored.uri, offset=offset, length=length, block=100_003) == data[offset:][:length]
    for offset, length in ((0, 3 * MIB + 1), (-1, 1), (3 * MIB + 1, None)):
        with pytest.raises(ValueError):
            store.reader(stored.uri, offset=offset, length=length)


def test_an_abort_leaves_nothing(store: Store, tmp_path: Path) -> None:
    writer = store.writer("x", size=None, attempt=attempt())
    writer.write(memoryview(pattern(6 * MIB)))
    writer.abort()
    writer.abort()
    assert list((tmp_path / "volumes").iterdir()) == []


def test_undo(store: Store, tmp_path: Path) -> None:
    writer = store.writer("x", size=None, attempt=attempt())
    writer.write(memoryview(b"data"))
    writer.commit()
    writer.undo()
    assert list((tmp_path / "volumes").iterdir()) == []


def test_what_is_missing_or_foreign(store: Store) -> None:
    stored = write(store, "x", b"x")
    store.delete(stored.uri)
    for action in (store.size, store.delete, store.reader):
        with pytest.raises(ObjectMissing):
            action(stored.uri)
    for uri in ("", "x", "http://host/x", "cinder://other"):
        assert not store.owns(uri)
    assert store.find("x") is None
    assert not store.capabilities.ranges


def test_read_only(tmp_path: Path) -> None:
    with pytest.raises(WriteRefused):
        OnFiles(tmp_path, read_only=True).writer("x", size=1, attempt=attempt())


def failing(error: Exception) -> CinderStore:
    made = CinderStore(options())
    made._made = type("Driver", (Failing,), {"error": error})()
    return made


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (glance_store.exceptions.NotFound(message="gone"), ObjectMissing),
        (glance_store.exceptions.InUseByStore(), ObjectInUse),
        (glance_store.exceptions.HasSnapshot(), ObjectInUse),
        (glance_store.exceptions.StorageFull(), StoreFull),
        (glance_store.exceptions.BackendException("hush"), StoreUnavailable),
        (ConnectionError("refused"), StoreUnavailable),
    ],
)
def test_the_drivers_errors_are_the_stores(error: Exception, expected: type[StoreError]) -> None:
    store, uri = failing(error), f"cinder://volumes/{uuid.uuid4()}"
    for action in (store.size, store.delete):
        with pytest.raises(expected) as caught:
            action(uri)
        assert "volumes" in str(caught.value)
    with pytest.raises(expected), store.writer("x", size=1, attempt=attempt()) as writer:
        writer.write(memoryview(b"x"))
        writer.commit()


def test_addresses_of_volumes() -> None:
    store, volume = failing(ValueError()), uuid.uuid4()
    for uri in (f"cinder://volumes/{volume}", f"cinder://{volume}"):
        store.validate(uri)
    for uri in (f"cinder://other/{volume}", "cinder://volumes/x", f"rbd://{volume}"):
        with pytest.raises(BadLocation):
            store.validate(uri)


def test_the_password_is_told_to_the_driver_only() -> None:
    store = make_store(options(), DriverContext())
    assert options().of_driver()["cinder_store_password"] == "hush-hush"
    assert "hush-hush" not in repr(options()) + repr(store.properties()) + repr(vars(store))


def test_an_option_that_the_driver_does_not_have() -> None:
    with pytest.raises((StoreUnavailable, PipelineError)):
        CinderStore(options(more={"no_such_option": 1}), driver="glance_store._drivers.filesystem.Store").check()
