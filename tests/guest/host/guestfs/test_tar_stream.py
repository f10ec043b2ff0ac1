"""The files of real file systems, through the appliance's port: what libguestfs's tar_out would tell."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import tar_stream
from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.manifest import ManifestEntry, node, nodes
from tests.environments.venv import _CACHE

pytestmark = pytest.mark.guest
APPLIANCES = _CACHE / "appliance"
# More than the port's queue and all buffers on the way hold.
LARGE = os.urandom(24 << 20)


def plant(handle: Any, folder: Path) -> None:
    """Whatever tar tells of: owners, modes, attributes, access lists, links, devices, holes, odd names."""
    (folder / "large").write_bytes(LARGE)
    handle.mkfs("ext4", "/dev/sda")
    handle.mount("/dev/sda", "/")
    handle.mkdir_p("/srv/deep")
    handle.upload(str(folder / "large"), "/srv/large")
    handle.ln("/srv/large", "/srv/deep/same")
    handle.ln_s("../nowhere", "/srv/link")
    handle.mknod_c(0o640, 1, 3, "/srv/null")
    handle.mkfifo(0o600, "/srv/pipe")
    handle.touch("/srv/holes")
    handle.truncate_size("/srv/holes", 9 << 20)
    for name in ("new\nline", "-option", "q'uo\"te", "ü", "n" * 250):
        handle.write(f"/srv/deep/{name}", name.encode())
    handle.chown(1234, 60000, "/srv/deep/-option")
    handle.chmod(0o4750, "/srv/deep/-option")
    handle.setxattr("user.note", "a value", 7, "/srv/large")
    handle.setxattr("security.note", "other", 5, "/srv/deep/ü")
    handle.acl_set_file("/srv/holes", "access", "u::rw-,u:1234:r--,g::r--,m::r--,o::-")
    handle.umount("/")


def damaged(folder: Path) -> Path:
    """A file system with a file whose inode is lost."""
    (folder / "tree").mkdir()
    for name in ("before", "lost", "then"):
        (folder / "tree" / name).write_text(name)
    disk = folder / "damaged.raw"
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-d", folder / "tree", disk, "16M"], check=True)
    subprocess.run(["/usr/sbin/debugfs", "-w", "-R", "clri /lost", disk], check=True)
    return disk


def as_tar_out_tells(handle: Any, folder: Path) -> list[ManifestEntry]:
    """The same by libguestfs's call; without the digests, which the bytes below stand for."""
    handle.tar_out("/", str(folder / "out.tar"), numericowner=True, xattrs=True, acls=True)
    with tarfile.open(folder / "out.tar", errors="surrogateescape") as archive:
        return [node(member) for member in archive]


def test_every_file_comes_as_tar_out_tells_it(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.touch()
    os.truncate(disk, 96 << 20)
    drives = [Drive(disk, "raw"), Drive(damaged(tmp_path), "raw", read_only=True)]
    with (tmp_path / "log").open("wb") as log, Appliance("tcg", APPLIANCES, tmp_path, log).launched(drives) as handle:
        plant(handle, tmp_path)
        handle.mount_ro("/dev/sda", "/")
        expected = as_tar_out_tells(handle, tmp_path)
        found = nodes(handle, tmp_path)
        assert [plain(each) for each in found] == [plain(each) for each in expected]
        paths = {each.path: each for each in found}
        assert dict(paths["/srv/large"].xattrs or paths["/srv/deep/same"].xattrs) == {"user.note": "a value"}
        assert paths["/srv/deep/-option"].mode == 0o4750 and paths["/srv/deep/-option"].owner == 1234
        assert not any(each.xattrs for each in nodes(handle, tmp_path, attributes=False))
        tar_stream.save(handle, tmp_path, tmp_path / "saved.tar")
        with tarfile.open(tmp_path / "saved.tar") as archive:
            large = archive.extractfile("./srv/large")
            assert large is not None and large.read() == LARGE
        _abandon(handle, tmp_path)
        handle.umount_all()
        _refuse(handle, tmp_path)
        handle.mount_ro("/dev/sda", "/")
        assert nodes(handle, tmp_path) == found
    assert not (tmp_path / "tree.sock").exists()


def plain(found: ManifestEntry) -> tuple[Any, ...]:
    """All but a file's digest."""
    content = "" if found.kind == "file" else found.content
    return (found.path, found.kind, found.mode, found.owner, found.group, content, found.xattrs, found.time)


def _abandon(handle: Any, scratch: Path) -> None:
    """Whoever stops in the middle leaves nobody who holds the file systems."""
    with pytest.raises(KeyboardInterrupt), tar_stream.opened(handle, scratch) as archive:
        next(tar_stream.members(archive))
        assert "tar -C" in handle.debug("sh", ["ps -ef"])
        raise KeyboardInterrupt
    assert "tar -C" not in handle.debug("sh", ["ps -ef"])


def _refuse(handle: Any, scratch: Path) -> None:
    """A file system that cannot be read whole is an error, as it is with tar_out, and can be unmounted all the same."""
    handle.mount_ro("/dev/sdb", "/")
    with pytest.raises(RuntimeError, match="cancelled by daemon"):
        handle.tar_out("/", "/dev/null")
    with pytest.raises(PipelineError, match=r"could not be read whole: tar ended with status 2\n  tar: \./lost: "):
        nodes(handle, scratch)
    handle.umount_all()
