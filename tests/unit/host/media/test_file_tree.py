from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath

import pytest

from pipeline.host.media import partitions
from pipeline.host.media.file_tree import FileTree


def test_folders_above_come_by_themselves_and_first() -> None:
    tree = FileTree()
    tree.add_file("/etc/init.d/rcS", b"x", 0o755)
    tree.add_link("/bin/sh", "busybox")
    assert [str(node.path) for node in tree] == ["/bin", "/bin/sh", "/etc", "/etc/init.d", "/etc/init.d/rcS"]
    assert [stat.filemode(node.mode) for node in tree] == [
        "drwxr-xr-x",
        "lrwxrwxrwx",
        "drwxr-xr-x",
        "drwxr-xr-x",
        "-rwxr-xr-x",
    ]


def test_the_last_word_counts() -> None:
    tree = FileTree()
    tree.add_file("/tmp/x", b"1")
    tree.add_folder("/tmp", 0o1777, uid=3)
    tree.add_file("/tmp/x", b"2")
    nodes = {node.path: node for node in tree}
    assert nodes[PurePosixPath("/tmp")].mode == stat.S_IFDIR | 0o1777
    assert nodes[PurePosixPath("/tmp/x")].content == b"2"


@pytest.mark.parametrize("path", ["/a/../b", "../a", "/a\nb", "/a\0"])
def test_paths_that_lead_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a plain path"):
        FileTree().add_file(path, b"")


def test_scripts_of_ours_can_be_run(tmp_path: Path) -> None:
    (tmp_path / "sbin").mkdir()
    (tmp_path / "sbin" / "go").write_text("#!/bin/sh\n")
    (tmp_path / "fstab").write_text("x\n")
    tree = FileTree()
    tree.add_host_tree(tmp_path)
    modes = {str(node.path): stat.S_IMODE(node.mode) for node in tree if not node.is_folder}
    assert modes == {"/sbin/go": 0o755, "/fstab": 0o644}


def test_a_partition_table_is_bytes(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(4096))
    first = partitions.Partition(2048, 6000, partitions.LINUX)
    second = partitions.Partition(64, 100, partitions.EFI_SYSTEM, active=True)
    partitions.write(disk, [first, second], code=b"\xeb\xfe", identity=0x12345678)
    sector = disk.read_bytes()[:512]
    assert sector[:2] == b"\xeb\xfe"
    assert sector[440:444] == bytes.fromhex("78563412")
    assert sector[446:462].hex() == "00feffff83feffff" + "00080000" + "70170000"
    assert sector[462] == 0x80
    assert sector[466] == 0xEF
    assert sector[510:] == b"\x55\xaa"


def test_splicing_leaves_holes(tmp_path: Path) -> None:
    disk, part = tmp_path / "disk", tmp_path / "part"
    with disk.open("wb") as file:
        file.truncate(4 << 20)
    part.write_bytes(bytes(1 << 20) + b"x" * 10)
    partitions.splice(part, disk, 1 << 20)
    data = disk.read_bytes()
    assert data[2 << 20 : (2 << 20) + 10] == b"x" * 10
    assert sum(data) == 10 * ord("x")
    assert disk.stat().st_blocks * 512 < 1 << 20
