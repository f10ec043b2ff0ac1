from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.image import formats
from pipeline.image.crc32c import crc32c
from tests.unit.image import vmdk_files
from tests.unit.image.integrity import images

pytestmark = pytest.mark.subprocess


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.make_disk(tmp_path_factory.mktemp("disk") / "disk.raw")


def test_the_checksum_of_vhdx() -> None:
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("kind", images.KINDS)
def test_what_is_whole_is_taken(kind: str, disk: Path, tmp_path: Path) -> None:
    disk_format, path = images.make(kind, disk, tmp_path / "image")
    assert images.refusal(path, disk_format) is None


@pytest.mark.parametrize("kind", images.KINDS)
def test_a_cut_image_is_refused_wherever_it_is_cut(
    kind: str, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_format, path = images.make(kind, disk, tmp_path / "image")
    size = path.stat().st_size
    borders = {end for table in images.tables(path, disk_format, monkeypatch) for end in (table.start, table.stop)}
    for cut in sorted(
        {size * part // 100 for part in range(5, 100, 5)} | borders | {size - 1, size - 512}, reverse=True
    ):
        if not 0 < cut < size:
            continue
        os.truncate(path, cut)
        found = images.refusal(path, disk_format)
        # Behind the last packed cluster is padding.
        assert found is not None or images.holds(path, disk_format, disk), f"cut at {cut} of {size}"
    assert found is not None


@pytest.mark.parametrize("kind", images.KINDS)
def test_a_cut_is_told_as_one(kind: str, disk: Path, tmp_path: Path) -> None:
    disk_format, path = images.make(kind, disk, tmp_path / "image")
    os.truncate(path, path.stat().st_size * 70 // 100)
    found = images.refusal(path, disk_format)
    assert found is not None
    assert found.reason is formats.RefusalReason.TRUNCATED
    assert "the file ends before the image does" in str(found)


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", [kind for kind in images.KINDS if kind != "gpt"])
def test_a_changed_byte_of_a_table_is_refused_or_changes_nothing(
    kind: str, count: int, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_format, path = images.make(kind, disk, tmp_path / "image")
    where = images.tables(path, disk_format, monkeypatch)
    data = path.read_bytes()
    refused = 0
    with path.open("r+b", buffering=0) as file:
        for at, value in images.changes(data, where, count, kind):
            os.pwrite(file.fileno(), bytes([value]), at)
            found = images.refusal(path, disk_format)
            if found is None:
                assert images.holds(path, disk_format, disk), f"byte {at} changed from {data[at]} to {value}"
            refused += found is not None
            os.pwrite(file.fileno(), data[at : at + 1], at)
    assert refused


@pytest.mark.parametrize("build", [vmdk_files.sparse, vmdk_files.stream])
def test_other_makers_vmdks_are_whole_and_their_cuts_are_not(build: object, tmp_path: Path) -> None:
    path = tmp_path / "disk.vmdk"
    assert callable(build)
    data = build()
    path.write_bytes(data)
    assert images.refusal(path, "vmdk") is None
    for cut in range(512, len(data), 512):
        path.write_bytes(data[:cut])
        assert images.refusal(path, "vmdk") is not None, cut
