"""Files that share their blocks, on a real file system that can."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.host.system import process
from pipeline.imageservice.data.buffers import Buffers
from pipeline.imageservice.data.sources import FromStore
from pipeline.imageservice.data.taps import DigestTap
from pipeline.imageservice.data.transfer import transfer
from pipeline.imageservice.stores.file.options import FileOptions
from pipeline.imageservice.stores.file.store import FileStore
from tests.unit.imageservice.stores.contract import attempt, pattern, read, write

pytestmark = pytest.mark.server
MIB = 1 << 20
DATA = pattern(32 * MIB)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0 or shutil.which("mkfs.xfs") is None:
        pytest.skip("needs root and xfsprogs")
    image, mount = tmp_path / "image", tmp_path / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(400 * MIB)
    process.run(["mkfs.xfs", "-q", image])
    try:
        process.run(["mount", "-o", "loop", image, mount])
    except process.ProcessFailed as error:
        pytest.skip(f"no loop mounts here: {error}")
    yield mount
    process.run(["umount", "--lazy", mount])


def store(folder: Path) -> FileStore:
    made = FileStore(FileOptions.model_validate({"id": "one", "directories": [folder]}))
    made.check()
    return made


def used(disk: Path) -> int:
    room = os.statvfs(disk)
    return (room.f_blocks - room.f_bfree) * room.f_frsize


def copied(one: FileStore, uri: str, two: FileStore, *, judged: bool = False) -> str:
    with one.reader(uri) as reader, two.writer("x", size=reader.length, attempt=attempt()) as writer:
        moved = transfer(FromStore(reader), [writer], Buffers(), taps=[DigestTap("md5")] if judged else [])
        assert moved.size == len(DATA)
        return writer.commit().uri


def test_a_copy_on_the_same_file_system_takes_no_room(disk: Path) -> None:
    one, two = store(disk / "one"), store(disk / "two")
    stored = write(one, "x", DATA)
    before = used(disk)
    uri = copied(one, stored.uri, two)
    assert used(disk) - before < 4 * MIB
    one.delete(stored.uri)
    assert read(two, uri) == DATA


def test_what_has_to_be_judged_is_read(disk: Path) -> None:
    one, two = store(disk / "one"), store(disk / "two")
    stored = write(one, "x", DATA)
    before = used(disk)
    assert read(two, copied(one, stored.uri, two, judged=True)) == DATA
    assert used(disk) - before > len(DATA) // 2


def test_elsewhere_it_is_an_ordinary_copy(disk: Path, tmp_path: Path) -> None:
    one, two = store(disk / "one"), store(tmp_path / "two")
    stored = write(one, "x", DATA)
    assert read(two, copied(one, stored.uri, two)) == DATA


def test_a_part_of_a_file_is_an_ordinary_copy(disk: Path) -> None:
    one, two = store(disk / "one"), store(disk / "two")
    stored = write(one, "x", DATA)
    with (
        one.reader(stored.uri, offset=5, length=MIB) as reader,
        two.writer("y", size=MIB, attempt=attempt()) as writer,
    ):
        transfer(FromStore(reader), [writer], Buffers())
        assert read(two, writer.commit().uri) == DATA[5 : 5 + MIB]
