"""Refuse SQLite on network file systems: its write-ahead log needs memory shared between processes."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from pipeline.base.errors import PipelineError

_MODE = 0o640
_NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "lustre",
    "gfs2",
    "ocfs2",
    "beegfs",
    "gpfs",
    "virtiofs",
    "vboxsf",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.ceph-fuse",
    "fuse.s3fs",
    "fuse.rclone",
}


def kind_of(folder: Path, mounts: str | None = None) -> str:
    """Return the type of the file system ``folder`` is on, as proc_pid_mountinfo(5) names it ("" when it is not
    listed).
    """
    text = mounts if mounts is not None else Path("/proc/self/mountinfo").read_text()
    path = str(folder.resolve())
    best, kind = "", ""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].replace("\\040", " ")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # a later mount on the same point hides the earlier one
            best, kind = point, after.split(" ")[0]
    return kind


def refuse_network(folder: Path) -> None:
    """Raise ``PipelineError`` when ``folder`` is on a file system that other machines write to."""
    kind = kind_of(folder)
    if kind in _NETWORK:
        raise PipelineError(
            f"{folder} is on a network file system ({kind}); SQLite would lose data there",
            hint="put the database on a local disk, or use PostgreSQL or MariaDB",
        )


def close_to_others(file: Path) -> None:
    """Make a database that others cannot read: it holds what images are called, and whose they are.

    SQLite gives its journals the mode of the database itself.
    """
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE))
    except FileExistsError:
        pass
    except OSError:
        return  # SQLite says itself what is wrong
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & stat.S_IRWXO:
        # One that an earlier version made, or that belongs to another user: then it is up to them.
        with contextlib.suppress(PermissionError):
            file.chmod(mode & ~stat.S_IRWXO)
