"""The scan's way through all files tells the same of each as a reading for nothing but the list."""

from __future__ import annotations

import io
import os
import shlex
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.host.guestfs import contents
from pipeline.signing.scan.guest import KeptFiles, walk
from tests.standins.tree_port import PIECE, TreePort

pytestmark = pytest.mark.subprocess

MEMBERS = {
    "./etc": (tarfile.DIRTYPE, ""),
    "./etc/motd": (tarfile.REGTYPE, "welcome\n"),
    "./etc/empty": (tarfile.REGTYPE, ""),
    "./etc/again": (tarfile.LNKTYPE, "./etc/motd"),
    "./etc/link": (tarfile.SYMTYPE, "../run/x"),
    "./dev/null": (tarfile.CHRTYPE, ""),
    "./run/pipe": (tarfile.FIFOTYPE, ""),
}


class Appliance(TreePort):
    """Of libguestfs's calls those that a walk through one file system takes; all but the archive is told, not read."""

    def __init__(self, kind: str, scratch: Path, archive: Path) -> None:
        super().__init__(scratch, scratch, f"cat {shlex.quote(str(archive))}")
        self.kind = kind

    def list_filesystems(self) -> dict[str, str]:
        return {"/dev/sda1": "ext4"}

    def inspect_os(self) -> list[str]:
        return ["/dev/sda1"]

    def inspect_get_mountpoints(self, root: str) -> dict[str, str]:
        return {"/": root}

    def inspect_get_type(self, root: str) -> str:
        return self.kind

    def mount_ro(self, device: str, location: str) -> None: ...

    def umount_all(self) -> None: ...

    def case_sensitive_path(self, path: str) -> str:
        raise RuntimeError(f"{path}: No such file or directory")

    def is_dir(self, path: str) -> bool:
        return False

    def is_file(self, path: str, followsymlinks: bool) -> bool:
        return False


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """What tar writes of a tree that only root could make."""
    path = tmp_path / "archive"
    with tarfile.open(path, mode="w") as archive:
        for number, (name, (kind, content)) in enumerate(MEMBERS.items()):
            member = tarfile.TarInfo(name)
            member.type, member.uid, member.mode = kind, 1000 + number, 0o640
            if kind in (tarfile.LNKTYPE, tarfile.SYMTYPE):
                member.linkname = content
            member.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(content.encode()))
    os.truncate(path, PIECE)
    return path


def test_the_walk_lists_what_the_list_alone_would(archive: Path, tmp_path: Path) -> None:
    handle = Appliance("linux", tmp_path, archive)
    scanned = walk(handle, tmp_path, [], KeptFiles(tmp_path))
    system: Any = SimpleNamespace(handle=handle, identity=SimpleNamespace(type="linux"), log=io.BytesIO())
    alone = contents.files(system, tmp_path)
    assert alone is not None and scanned.listed == contents.unpack(alone)
    assert set(scanned.listed) == {name[1:] for name in MEMBERS} - {"/etc"}
    assert len(set(scanned.listed.values())) == len(scanned.listed)


@pytest.mark.parametrize("kind", ["windows", "unknown"])
def test_files_of_other_systems_are_not_listed(kind: str, archive: Path, tmp_path: Path) -> None:
    scanned = walk(Appliance(kind, tmp_path, archive), tmp_path, [], KeptFiles(tmp_path))
    assert scanned.files == 2 and not scanned.listed
