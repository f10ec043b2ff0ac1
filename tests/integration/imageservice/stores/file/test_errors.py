# ruff: noqa: E402
"""The file store on a mount that fails as network file systems do: a real one, by FUSE. NFS itself is not tested."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.imageservice.stores import health
from pipeline.imageservice.stores.errors import ObjectMissing, StoreError, StoreFull, StoreUnavailable, WriteRefused
from pipeline.imageservice.stores.file import directory
from pipeline.imageservice.stores.file.directory import MARKER
from pipeline.imageservice.stores.file.options import FileOptions
from pipeline.imageservice.stores.file.store import FileStore
from tests.environments.daemon import wait_until
from tests.environments.fixtures import needed
from tests.unit.imageservice.stores.contract import attempt, pattern, read, write

needed("mfusepy", "libfuse2")
if os.geteuid() != 0 or not Path("/dev/fuse").exists():
    pytest.skip("only root may mount, and only where there is /dev/fuse", allow_module_level=True)

from tests.environments.faulty_disk import Mounted, faulty_disk

pytestmark = pytest.mark.server
MIB = 1 << 20


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mounted]:
    monkeypatch.setattr(directory, "_PAUSE", 0.2)
    with faulty_disk() as mounted:
        yield mounted


@pytest.fixture
def store(disk: Mounted) -> FileStore:
    made = on(disk)
    made.check()
    return made


def on(disk: Mounted, **more: object) -> FileStore:
    location = {"path": disk.mount / "images", "mount": disk.mount}
    return FileStore(FileOptions.model_validate({"id": "shared", "directories": [location], **more}))


def behind(disk: Mounted) -> list[str]:
    """The images, and what is left of unfinished ones, in what the mount shows."""
    return sorted(path.name for path in (disk.folder / "images").iterdir() if path.name != MARKER)


def is_up(store: FileStore) -> bool:
    try:
        store.check()
    except StoreError:
        return False
    return True


def test_a_mount_is_a_disk_like_any_other(store: FileStore, disk: Mounted) -> None:
    data = pattern(MIB) + bytes(MIB) + pattern(1000)
    stored = write(store, "x", data)
    assert read(store, stored.uri) == data
    assert [found.name for found in store.objects()] == ["x"]
    assert list(store.incomplete()) == []
    assert behind(disk) == ["x"]


@pytest.mark.parametrize("fault", ["EIO", "ESTALE", "EROFS"])
@pytest.mark.parametrize("operation", ["write", "fsync", "create"])
def test_a_failed_write_makes_the_store_read_only(store: FileStore, disk: Mounted, operation: str, fault: str) -> None:
    stored = write(store, "before", b"before")
    disk.fail(f"{operation} {fault}")
    with pytest.raises((StoreUnavailable, WriteRefused)):
        write(store, "x", pattern(MIB))
    # Not tried again and again, and said.
    with pytest.raises(WriteRefused, match="read-only after a failed write"):
        store.writer("y", size=1, attempt=attempt())
    with pytest.raises(WriteRefused):
        store.check()
    assert read(store, stored.uri) == b"before"
    assert behind(disk) == ["before"]
    disk.fail()
    wait_until(lambda: is_up(store), "the store takes writes again", seconds=10, pause=0.1)
    assert read(store, write(store, "x", b"after").uri) == b"after"
    assert behind(disk) == ["before", "x"]


@pytest.mark.parametrize("operation", ["write", "fsync"])
def test_a_full_disk_is_no_broken_one(store: FileStore, disk: Mounted, operation: str) -> None:
    disk.fail(f"{operation} ENOSPC")
    with pytest.raises(StoreFull):
        write(store, "x", pattern(MIB))
    store.check()
    disk.fail()
    assert read(store, write(store, "x", b"after").uri) == b"after"


@pytest.mark.parametrize("fault", ["EIO", "ESTALE"])
def test_a_failed_read_is_a_fault_and_no_missing_image(store: FileStore, disk: Mounted, fault: str) -> None:
    stored = write(store, "x", pattern(3 * MIB))
    reader = store.reader(stored.uri)
    disk.fail(f"all {fault}")
    with pytest.raises(StoreUnavailable):
        for _ in range(64):  # what the kernel has read ahead may still come
            reader.read(64 << 10)
    for action in (store.size, store.delete, store.reader, store.exists):
        with pytest.raises(StoreUnavailable):
            action(stored.uri)
    with pytest.raises(StoreUnavailable):
        store.find("x")
    with pytest.raises(StoreUnavailable):
        list(store.objects())
    disk.fail()
    assert read(store, stored.uri) == pattern(3 * MIB)


def test_a_mount_that_vanishes(store: FileStore, disk: Mounted) -> None:
    """Nothing goes to the local disk below it, nothing is taken for missing, and it is found again by itself."""
    stored = write(store, "x", b"data")
    writer = store.writer("y", size=None, attempt=attempt())
    writer.write(memoryview(pattern(MIB)))
    disk.unmount()
    (disk.mount / "images").mkdir()  # as if the directory had been there before the mount
    with pytest.raises(StoreUnavailable):
        writer.commit()
    writer.abort()
    for action in (store.size, store.delete, store.reader, store.exists):
        with pytest.raises(StoreUnavailable, match="not mounted"):
            action(stored.uri)
    for refused in (store.check, lambda: store.find("x"), lambda: list(store.objects()), lambda: store.space()):
        with pytest.raises(StoreUnavailable):
            refused()
    with pytest.raises(StoreUnavailable):
        write(store, "z", b"z")
    (disk.mount / "images").rmdir()  # which it could not, were there anything in it
    with disk.mounted():
        store.check()
        assert read(store, stored.uri) == b"data"
        for left in store.incomplete():
            store.discard(left)
        assert read(store, write(store, "z", b"z").uri) == b"z"


def test_a_store_whose_mount_is_not_there_at_start(disk: Mounted) -> None:
    disk.unmount()
    store = on(disk)
    with pytest.raises(StoreUnavailable):
        store.check()
    assert list(disk.mount.iterdir()) == []
    with disk.mounted():
        store.check()
        write(store, "x", b"x")
    assert behind(disk) == ["x"]


def test_another_file_system_in_its_place(store: FileStore, disk: Mounted, tmp_path: Path) -> None:
    stored = write(store, "x", b"data")
    disk.unmount()
    disk.folder.rename(disk.folder.with_name("mine"))
    (disk.folder / "images").mkdir(parents=True)
    with disk.mounted():
        with pytest.raises(StoreUnavailable, match="not mounted"):
            store.check()
        with pytest.raises(StoreUnavailable):
            store.size(stored.uri)
    assert list((disk.folder / "images").iterdir()) == []


def test_the_mark_of_another_store(store: FileStore, disk: Mounted) -> None:
    options = store.options.model_copy(update={"id": "other"})
    with pytest.raises(StoreUnavailable):
        FileStore(options).check()
    on(disk).check()


def test_two_processes_make_one_mark(disk: Mounted) -> None:
    stores = [on(disk) for _ in range(8)]
    threads = [threading.Thread(target=store.check) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.check()
    assert behind(disk) == []


def test_a_mount_that_hangs_is_waited_for_by_its_own_requests_only(
    disk: Mounted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_HUNG", 2.0)
    shared = on(disk)
    shared.check()
    local = FileStore(FileOptions.model_validate({"id": "local", "directories": [tmp_path / "local"]}))
    local.check()
    watched = health.StoreHealth([shared, local])
    disk.fail("all hang")
    faults = watched.faults()  # what waited for the mount would wait until it is mended, below
    assert faults["local"] is None
    wait_until(lambda: watched.is_down(shared), "it is known to hang", seconds=20)
    disk.fail()
    wait_until(lambda: not watched.is_down(shared), "it is known to work", seconds=20)


def test_a_missing_image_is_missing(store: FileStore) -> None:
    stored = write(store, "x", b"data")
    store.delete(stored.uri)
    with pytest.raises(ObjectMissing):
        store.size(stored.uri)
    assert store.find("x") is None
