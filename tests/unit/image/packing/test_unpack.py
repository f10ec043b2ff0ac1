from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import PipelineError
from pipeline.image.packing.kinds import Packing, packing_of
from pipeline.image.packing.unpack import packing_of_file, unpack
from tests.unit.image.packing import files

CONTENT = bytes(2 << 20) + os.urandom(100_000) + bytes(3 << 20)


@pytest.mark.parametrize("packing", list(Packing))
def test_each_packing_is_recognised_and_unpacked(packing: Packing, tmp_path: Path) -> None:
    path = files.packed_file(tmp_path / "disk", packing, CONTENT)
    assert packing_of_file(path) is packing
    made = unpack(path, tmp_path / "out", limit=len(CONTENT))
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert (tmp_path / "out").stat().st_blocks * 512 < len(CONTENT) // 2  # zeros stayed holes
    assert made.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert made.packed_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert made.sha256 in made.summary
    assert made.packed_sha256 in made.summary


@pytest.mark.parametrize("packing", list(Packing))
def test_what_is_cut_too_large_or_packed_twice_leaves_nothing(packing: Packing, tmp_path: Path) -> None:
    path = files.packed_file(tmp_path / "disk", packing, CONTENT)
    with pytest.raises(PipelineError, match="becomes larger than"):
        unpack(path, tmp_path / "out", limit=len(CONTENT) - 1)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PipelineError, match="cannot be unpacked") as refused:
        unpack(path, tmp_path / "out", limit=1 << 30)
    assert packing.command.split()[0] in str(refused.value)
    files.packed_file(path, packing, gzip.compress(CONTENT))
    with pytest.raises(PipelineError, match="packed twice"):
        unpack(path, tmp_path / "out", limit=1 << 30)
    assert [each.name for each in tmp_path.iterdir()] == ["disk"]


def test_an_archive_has_to_hold_one_disk(tmp_path: Path) -> None:
    path, out = tmp_path / "archive", tmp_path / "out"
    path.write_bytes(files.tarred(**{"README": b"x", "a.qcow2": b"disk"}))
    unpack(path, out, limit=100)
    assert out.read_bytes() == b"disk"
    for several in (files.tarred(**{"a.raw": b"x", "b.raw": b"x"}), files.zipped(a=b"x", b=b"y"), files.zipped()):
        path.write_bytes(several)
        if packing_of(several) is None:
            continue
        with pytest.raises(PipelineError, match="does not hold one disk image"):
            unpack(path, out, limit=100)


def test_a_link_in_an_archive_is_no_disk(tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        link = tarfile.TarInfo("disk.raw")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    path = tmp_path / "archive"
    path.write_bytes(made.getvalue())
    with pytest.raises(PipelineError, match="there is nothing"):
        unpack(path, tmp_path / "out", limit=1 << 20)


@given(st.binary(max_size=600))
def test_a_disk_is_not_taken_for_an_archive(data: bytes) -> None:
    assert packing_of(b"\xeb\x63\x90" + data) is None
    assert packing_of(bytes(600)) is None
