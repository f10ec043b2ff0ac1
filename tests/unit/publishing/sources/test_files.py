from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.image.packing.kinds import Packing
from pipeline.publishing.cloud.ownership_marker import ImagePart
from pipeline.publishing.sources.files import ReadyFiles
from pipeline.publishing.sources.unpacked import unpacked
from tests.unit.image import hostile, hostile_vmdks
from tests.unit.image.integrity import images
from tests.unit.image.packing import files

pytestmark = pytest.mark.subprocess
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def source(home: Path, disk: Path) -> None:
    ReadyFiles(Home(home, home / "cache"), "image", {ImagePart.DISK: disk}).source("me", NOW)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.make_disk(tmp_path_factory.mktemp("disk") / "disk.raw")


def test_good_disks_are_offered(disk: Path, tmp_path: Path) -> None:
    source(tmp_path, disk)
    for kind in ("qcow2", "qcow2-zstd", "vmdk-stream", "vhd", "vdi"):
        source(tmp_path, images.make(kind, disk, tmp_path / kind)[1])


@pytest.mark.parametrize("kind", ["qcow2", "qcow2-zlib", "vmdk-sparse", "vhd", "vhdx", "vdi"])
def test_a_damaged_disk_is_not_published(kind: str, disk: Path, tmp_path: Path) -> None:
    path = images.make(kind, disk, tmp_path / "image")[1]
    os.truncate(path, path.stat().st_size * 80 // 100)
    with pytest.raises(PipelineError, match="image: the file ends before the image does"):
        source(tmp_path, path)


def test_no_trick_with_a_vmdk_is_published(tmp_path: Path) -> None:
    for trick, data in hostile_vmdks.all_of_them():
        path = tmp_path / "disk"
        path.write_bytes(data)
        with pytest.raises(PipelineError, match="disk: "):
            source(tmp_path, path)
            pytest.fail(trick)


def test_a_disk_is_what_its_name_says(disk: Path, tmp_path: Path) -> None:
    called = images.make("qcow2", disk, tmp_path / "disk.raw")[1]
    with pytest.raises(PipelineError, match="declared raw, its content is qcow2"):
        source(tmp_path, called)
    called = called.rename(tmp_path / "disk.vmdk")
    with pytest.raises(PipelineError, match="declared vmdk, its content is qcow2"):
        source(tmp_path, called)
    broken = hostile.patched(called, tmp_path / "disk.qcow2", 0, b"X")
    with pytest.raises(PipelineError, match="declared qcow2, its content is raw") as refused:
        source(tmp_path, broken)
    assert "declare it" not in str(refused.value)


def test_half_a_sector_is_no_disk(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"data" * 1000)
    with pytest.raises(PipelineError, match="4000 bytes are no multiple of 512"):
        source(tmp_path, path)


@pytest.mark.parametrize("packing", list(Packing))
def test_a_packed_disk_is_named_and_unpacked_when_asked_for(packing: Packing, disk: Path, tmp_path: Path) -> None:
    path = files.packed_file(tmp_path / "disk.raw", packing, disk.read_bytes())
    with pytest.raises(PipelineError, match=f"is packed with {packing}") as refused:
        source(tmp_path, path)
    assert packing.command.replace("FILE", "disk.raw") in str(refused.value)
    assert "--unpack" in str(refused.value)
    with unpacked(Home(tmp_path / "home", tmp_path / "cache"), {ImagePart.DISK: path}) as (found, packed):
        source(tmp_path, found[ImagePart.DISK])
        assert packed is not None
        folder = found[ImagePart.DISK].parent
    assert not folder.exists()
    with unpacked(Home(tmp_path / "home", tmp_path / "cache"), {ImagePart.DISK: disk}) as (found, packed):
        assert (found[ImagePart.DISK], packed) == (disk, None)
