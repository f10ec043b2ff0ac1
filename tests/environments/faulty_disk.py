"""A real mount (FUSE) that shows a folder, and fails as a network file system does when it is told to.

``python faulty_disk.py FOLDER MOUNT ORDERS``: the file ``ORDERS`` says what fails, a line each: an operation (as
``write``, ``fsync``, ``create``, ``read``, or ``all``) and the name of an errno, or ``hang``.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mfusepy

from tests.environments.daemon import daemon, scratch


class FaultyDisk(mfusepy.Operations):  # type: ignore[misc]
    """Passes every operation on to a folder, unless an order says otherwise."""

    use_ns = True

    def __init__(self, folder: Path, orders: Path) -> None:
        self._folder, self._orders = folder, orders
        for name in [name for name, value in vars(FaultyDisk).items() if callable(value) and not name.startswith("_")]:
            setattr(self, name, functools.partial(self._obey, name, getattr(self, name)))

    def _obey(self, name: str, operation: Callable[..., Any], *arguments: Any) -> Any:
        for order in self._orders.read_text().splitlines():
            failing, _, fault = order.partition(" ")
            while failing in (name, "all") and fault == "hang" and order in self._orders.read_text():
                time.sleep(0.05)
            if failing in (name, "all") and fault != "hang":
                raise mfusepy.FuseOSError(getattr(errno, fault))
        return operation(*arguments)

    def _real(self, path: str) -> str:
        return f"{self._folder}{path}"

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """stat(2)."""
        found = os.lstat(self._real(path))
        names = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks")
        times = {f"st_{name}time": getattr(found, f"st_{name}time_ns") for name in "amc"}
        return {**{name: getattr(found, name) for name in names}, **times}

    def readdir(self, path: str, fh: int) -> list[str]:
        """The names in a folder."""
        return [".", "..", *os.listdir(self._real(path))]

    def statfs(self, path: str) -> dict[str, Any]:
        """statvfs(3)."""
        found = os.statvfs(self._real(path))
        names = (
            "f_bavail",
            "f_bfree",
            "f_blocks",
            "f_bsize",
            "f_favail",
            "f_ffree",
            "f_files",
            "f_frsize",
            "f_namemax",
        )
        return {name: getattr(found, name) for name in names}

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        """A new file."""
        return os.open(self._real(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path: str, flags: int) -> int:
        """A file that is there."""
        return os.open(self._real(path), flags & ~os.O_CREAT)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """pread(2)."""
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        """pwrite(2)."""
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        """truncate(2)."""
        os.truncate(self._real(path), length)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        """fsync(2)."""
        os.fsync(fh)

    def release(self, path: str, fh: int) -> None:
        """close(2)."""
        os.close(fh)

    def unlink(self, path: str) -> None:
        """unlink(2)."""
        os.unlink(self._real(path))

    def rename(self, old: str, new: str) -> None:
        """rename(2)."""
        os.rename(self._real(old), self._real(new))

    def link(self, target: str, source: str) -> None:
        """link(2): ``target`` is the new name."""
        os.link(self._real(source), self._real(target))

    def chmod(self, path: str, mode: int) -> None:
        """chmod(2)."""
        os.chmod(self._real(path), mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        """chown(2)."""
        os.chown(self._real(path), uid, gid)

    def mkdir(self, path: str, mode: int) -> None:
        """mkdir(2)."""
        os.mkdir(self._real(path), mode)


class Mounted:
    """The mount, at ``mount``; ``folder`` is what it shows."""

    def __init__(self, root: Path) -> None:
        self.folder, self.mount, self._orders = root / "behind", root / "mount", root / "orders"
        self.folder.mkdir()
        self.mount.mkdir()
        self._orders.write_text("")

    def fail(self, *orders: str) -> None:
        """From now on these operations fail, and no others."""
        new = self._orders.with_suffix(".new")
        new.write_text("\n".join(orders))
        new.replace(self._orders)

    @contextlib.contextmanager
    def mounted(self) -> Iterator[subprocess.Popen[bytes]]:
        """Mount it for the block."""
        words: list[str | Path] = [sys.executable, "-m", "tests.environments.faulty_disk"]
        before = self.mount.stat().st_dev
        root = Path(__file__).parents[2]
        with daemon(
            [*words, self.folder, self.mount, self._orders],
            ready=lambda: self.mount.stat().st_dev != before,
            log=self._orders.with_name("log"),
            cwd=root,
        ) as child:
            try:
                yield child
            finally:
                self.fail()
                self.unmount()

    def unmount(self) -> None:
        """Take the mount away, in use or not."""
        subprocess.run(["umount", "--lazy", self.mount], check=False, capture_output=True)


@contextlib.contextmanager
def faulty_disk() -> Iterator[Mounted]:
    """A mount that fails when told to, which is mounted already."""
    with scratch("faulty") as root:
        disk = Mounted(root)
        with disk.mounted():
            yield disk


if __name__ == "__main__":
    folder, mount, orders = sys.argv[1:]
    mfusepy.FUSE(
        FaultyDisk(Path(folder), Path(orders)),
        mount,
        foreground=True,
        nothreads=False,
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
    )
