from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.base import yaml_source
from pipeline.base.owner import Owner
from pipeline.imageservice.stores.base import Store
from pipeline.imageservice.stores.errors import (
    BadLocation,
    ObjectMissing,
    StoreDamaged,
    StoreFull,
    StoreSilent,
    StoreUnavailable,
    WriteRefused,
)
from pipeline.imageservice.stores.file.options import FileOptions
from pipeline.imageservice.stores.file.store import FileStore
from tests.unit.imageservice.stores.contract import StoreContract, attempt, pattern, read, write


def make(*directories: Path | dict[str, object], **more: object) -> FileStore:
    store = FileStore(FileOptions.model_validate({"id": "one", "directories": list(directories), **more}))
    store.check()
    return store


class TestContract(StoreContract):
    @pytest.fixture(params=["holes", "no holes", "two directories"])
    def store(self, tmp_path: Path, request: pytest.FixtureRequest) -> Store:
        if request.param == "two directories":
            return make(tmp_path / "a", tmp_path / "b")
        return make(tmp_path / "a", holes=request.param == "holes")

    @pytest.fixture
    def read_only(self, tmp_path: Path) -> Store:
        return make(tmp_path, read_only=True)

    def foreign(self, uri: str) -> list[str]:
        directory, _, name = uri.rpartition("/")
        return [
            *super().foreign(uri),
            f"{directory}/x/{name}",
            f"{directory}/../{name}",
            f"{directory}/.partial.1-2-00000000.{attempt()}.{name}",
            f"{directory}/",
            f"{uri}?x",
            f"{uri}#x",
            f"http://{directory}/{name}",
        ]


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_holes_take_no_room(tmp_path: Path) -> None:
    store = make(tmp_path)
    data = pattern(1 << 20) + bytes(64 << 20) + pattern(1 << 20) + bytes(3 << 20)
    stored = write(store, "sparse", data)
    assert allocated(tmp_path / "sparse") <= 2_200_000
    assert read(store, stored.uri) == data
    assert allocated(tmp_path / "sparse") < allocated_whole(tmp_path, data)


def allocated_whole(tmp_path: Path, data: bytes) -> int:
    write(make(tmp_path / "whole", holes=False), "sparse", data)
    size = allocated(tmp_path / "whole" / "sparse")
    assert size >= len(data)
    return size


def test_addresses_are_those_of_glance_store(tmp_path: Path) -> None:
    stored = write(make(tmp_path), "5a3c7ff1-3e5c-4b2a-9f57-0d9c3a6d3b11", b"x")
    assert stored.uri == f"file://{tmp_path}/5a3c7ff1-3e5c-4b2a-9f57-0d9c3a6d3b11"


def test_the_mode_is_as_set(tmp_path: Path) -> None:
    write(make(tmp_path, file_mode=0o644), "x", b"x")
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o644


@pytest.mark.subprocess
def test_the_heaviest_directory_with_room_is_filled_first(tmp_path: Path, small_disk: Callable[[int], Path]) -> None:
    small = small_disk(4 << 20)
    store = make({"path": tmp_path, "weight": 1}, {"path": small, "weight": 2})
    assert write(store, "fits", bytes(1000)).uri.startswith(f"file://{small}/")
    assert write(store, "too-large", pattern(5 << 20)).uri.startswith(f"file://{tmp_path}/")


@pytest.mark.subprocess
def test_a_full_disk_is_said_before_and_while_writing(small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(4 << 20)
    store = make(disk)
    with pytest.raises(StoreFull):
        store.writer("x", size=5 << 20, attempt=attempt())
    with pytest.raises(StoreFull), store.writer("x", size=None, attempt=attempt()) as writer:
        for _ in range(5):
            writer.write(memoryview(pattern(1 << 20)))
    assert list(disk.iterdir()) == []
    assert write(store, "x", pattern(1 << 20)).size == 1 << 20


@pytest.mark.subprocess
def test_a_name_in_another_directory_counts(tmp_path: Path, small_disk: Callable[[int], Path]) -> None:
    small = small_disk(4 << 20)
    store = make({"path": tmp_path, "weight": 1}, {"path": small, "weight": 2})
    write(store, "x", b"small")
    with store.writer("x", size=8 << 20, attempt=attempt()) as writer:
        writer.write(memoryview(b"large"))
        stored = writer.commit(replace=True)
    assert [found.stored.uri for found in store.objects()] == [stored.uri]


def test_a_missing_directory_is_the_stores_fault(tmp_path: Path) -> None:
    store = make(tmp_path / "mount")
    (tmp_path / "mount").rmdir()
    with pytest.raises(StoreUnavailable):
        store.writer("x", size=None, attempt=attempt())


def test_a_file_in_the_place_of_a_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="has a fault"):
        make(tmp_path / "file")


def test_an_unwritable_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        make(tmp_path / "file" / "below")


def test_a_shortened_file_is_damage(tmp_path: Path) -> None:
    store = make(tmp_path)
    stored = write(store, "x", pattern(100_000))
    with store.reader(stored.uri) as reader:
        reader.read(50_000)
        os.truncate(tmp_path / "x", 60_000)
        reader.read(50_000)
        with pytest.raises(StoreDamaged):
            reader.read(50_000)


def test_links_are_not_followed(tmp_path: Path) -> None:
    store = make(tmp_path)
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(ObjectMissing):
        store.reader(f"file://{tmp_path}/link")
    assert store.find("link") is None
    assert list(store.objects()) == []


def test_the_kernel_can_send_from_the_right_place(tmp_path: Path) -> None:
    stored = write(store := make(tmp_path), "x", b"0123456789")
    with store.reader(stored.uri, offset=3, length=4) as reader:
        assert reader.file is not None
        assert os.lseek(reader.file.fileno(), 0, os.SEEK_CUR) == 3


def test_an_unfinished_write_names_its_owner(tmp_path: Path) -> None:
    with make(tmp_path).writer("x", size=None, attempt=attempt()):
        (path,) = tmp_path.iterdir()
        assert Owner.find(path.name) == Owner.current()


def test_only_unfinished_writes_are_discarded(tmp_path: Path) -> None:
    from dataclasses import replace

    store = make(tmp_path)
    stored = write(store, "x", b"x")
    with store.writer("y", size=None, attempt=attempt()):
        (left,) = store.incomplete()
        for key in (stored.uri, str(tmp_path / "x"), "/etc/passwd", str(tmp_path / ".." / Path(left.key).name)):
            with pytest.raises(ValueError):
                store.discard(replace(left, key=key))
    assert store.exists(stored.uri)


def test_a_disk_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store = make(tmp_path)
    assert read(store, write(store, "x", b"data").uri) == b"data"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_no_message_tells_a_path(tmp_path: Path) -> None:
    store = make(tmp_path)
    uri = f"file://{tmp_path}/gone"
    for kind, action in [(ObjectMissing, store.size), (BadLocation, lambda uri: store.size(uri + "/x"))]:
        with pytest.raises(kind) as caught:
            action(uri)
        assert str(tmp_path) not in str(caught.value)
        assert str(tmp_path) in (caught.value.detail or "")


@pytest.mark.parametrize("there", ["nothing", "a folder", "a file system"])
def test_a_missing_mount_says_so(tmp_path: Path, there: str) -> None:
    mount = Path("/dev/shm") if there == "a file system" else tmp_path / "mount"
    if there == "a folder":
        mount.mkdir()
    options = {"id": "shared", "read_only": True, "directories": [{"path": mount / "golden-images", "mount": mount}]}
    with pytest.raises(StoreSilent) as caught:
        FileStore(FileOptions.model_validate(options)).check()
    assert str(caught.value) == "store shared is not mounted"  # a client's answer has no path
    expected = {
        "nothing": f"mount: {mount} does not exist",
        "a folder": f"mount: nothing is mounted at {mount}",
        "a file system": f"{mount / 'golden-images'} is not there",
    }
    assert caught.value.detail is not None
    assert caught.value.detail.startswith("directories of store shared, mount: ")
    assert expected[there] in caught.value.detail
    assert "leave `mount` out of the settings" in caught.value.detail


def test_relative_directories_are_refused() -> None:
    with pytest.raises(ValidationError, match="absolute"):
        FileOptions.model_validate({"id": "one", "directories": ["images"]})


def test_reserved_ids_are_refused() -> None:
    with pytest.raises(ValidationError, match="os_glance_"):
        FileOptions.model_validate({"id": "os_glance_x", "directories": ["/images"]})


def test_the_read_only_store_still_reads(tmp_path: Path) -> None:
    stored = write(make(tmp_path), "x", b"data")
    assert read(make(tmp_path, read_only=True), stored.uri) == b"data"
    with pytest.raises(WriteRefused):
        make(tmp_path, read_only=True).writer("y", size=1, attempt=attempt())


@pytest.mark.parametrize(
    ("written", "mode"),
    [("0o644", 0o644), ("0644", 0o644), ('"0644"', 0o644), ("0o640", 0o640), ("416", 0o640), ("0o440", 0o440)],
)
def test_permission_bits_as_people_write_them(tmp_path: Path, written: str, mode: int) -> None:
    text = f"{{id: one, directories: [{tmp_path}], file_mode: {written}}}"
    options = FileOptions.model_validate(yaml_source.loads(text).data)
    assert options.file_mode == mode
    store = FileStore(options)
    store.check()
    write(store, "x", b"data")
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode


@pytest.mark.parametrize(
    "written", ["644", "640", "500", "440", "600", '"644"', "rw-r--r--", "0o1644", "0o044", "true", "-1"]
)
def test_permission_bits_that_could_mean_two_things(tmp_path: Path, written: str) -> None:
    text = f"{{id: one, directories: [{tmp_path}], file_mode: {written}}}"
    with pytest.raises(ValidationError) as caught:
        FileOptions.model_validate(yaml_source.loads(text).data)
    assert "file_mode" in str(caught.value)
