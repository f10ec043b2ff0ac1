"""Connect to a libvirt to start guests by: a daemon of our own, or the machine's.

By default it is a daemon of our own (``qemu:///session``) with private folders for all that it reads and writes. Root
becomes an ordinary user for it. The machine's libvirt (``qemu:///system``) is used as it is found.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.base.errors import PipelineError
from pipeline.base.owner import Owner
from pipeline.host.system import privileges, process

# The user that daemons without files of their own run as; libvirt wants one that has a name.
_USER = "nobody"
_TEMPORARY = "pipeline-run-"
_SESSION, _SYSTEM = "qemu:///session", "qemu:///system"
_ONLY = "install"
_START = 60.0  # seconds until the daemon answers
_KVM = Path("/dev/kvm")
_SYSTEM_PIDS = Path("/run/libvirt/qemu")


@dataclass(frozen=True)
class Libvirt:
    """A libvirt that answers. ``folder`` is private to this build and closed to everybody but its user.

    ``user`` and ``groups``: the ids it runs with, if they are not ours.
    """

    uri: str
    folder: Path
    pids: Path
    user: int | None
    env: Mapping[str, str]
    groups: tuple[int, ...] = ()

    def words(self, *command: str | Path) -> list[str]:
        """Return ``command`` as one of the daemon's user."""
        plain = [str(word) for word in command]
        return plain if self.user is None else privileges.confined(plain, user=self.user, groups=self.groups)

    def run(self, *command: str | Path, timeout: float = 60, check: bool = True) -> process.Finished:
        """Run a program as the daemon's user, with its folders. As ``process.run``."""
        return process.run(self.words(*command), timeout=timeout, env=self.env, check=check, cwd=self.folder)

    def virsh(self, *words: str, timeout: float = 60, check: bool = True) -> process.Finished:
        """Ask libvirt. As ``process.run``."""
        return self.run("virsh", "--quiet", "--connect", self.uri, *words, timeout=timeout, check=check)

    def domain(self, name: str) -> str:
        """Return what to call a guest: unique where others have guests, else short, as it is part of sockets' paths."""
        return _ONLY if self.uri == _SESSION else f"{name}.{Owner.current().mark}"

    def give(self, path: Path) -> Path:
        """Make a file readable to the daemon's user, and to nobody else."""
        if self.user is not None:
            os.chown(path, self.user, self.user)
        return path

    def lend(self, path: Path) -> Path:
        """Return a name under which the daemon's user can read ``path``, which stays as it is.

        The machine's libvirt makes all that a guest reads the guest's own, and leaves it so: it gets a copy.
        """
        is_ours = self.uri == _SESSION
        if is_ours and (self.user is None or self.run("test", "-r", path, check=False).status == 0):
            return path
        copy = self.folder / path.name
        process.run(["cp", "--reflink=auto", path, copy], timeout=3600)
        return self.give(copy)


@contextlib.contextmanager
def session(log: IO[bytes], accelerator: str) -> Iterator[Libvirt]:
    """Start a libvirt daemon of our own while the block lasts; it and all its files go with it."""
    user = _ordinary_user()
    with _private_folder(user) as folder:
        groups = tuple(privileges.groups_for(accelerator))
        # Short, since libvirt makes sockets below it (unix(7): 108 bytes).
        env = {"HOME": str(folder / "home"), "XDG_RUNTIME_DIR": str(folder / "run"), "TMPDIR": str(folder)}
        for name, variable in (("c", "CONFIG_HOME"), ("cache", "CACHE_HOME"), ("data", "DATA_HOME")):
            env[f"XDG_{variable}"] = str(folder / name)
        found = Libvirt(_SESSION, folder, folder / "run/libvirt/qemu/run", user, env, groups)
        with process.started(found.words("libvirtd"), log=log, env=env, cwd=folder) as daemon:
            _wait_for(daemon, folder / "run/libvirt/libvirt-sock")
            yield found


@contextlib.contextmanager
def system() -> Iterator[Libvirt]:
    """Connect to this machine's libvirt. Raises ``PipelineError`` when it does not answer."""
    # Its guests run as a user of their own, who has to get through to what is given to him.
    with _private_folder(None, mode=0o711) as folder:
        found = Libvirt(_SYSTEM, folder, _SYSTEM_PIDS, None, {})
        # Its version it would tell only after it has started every QEMU that is installed to look at it.
        if found.virsh("uri", check=False).status != 0:
            raise PipelineError(
                "this machine's libvirt (qemu:///system) does not answer",
                hint="start libvirtd and join the group libvirt, or leave connection: system out of the recipe",
            )
        yield found


def is_slow(accelerator: str) -> bool:
    """Return whether the machine's libvirt will try a KVM that does not work, again for each part of a guest: over a
    minute.

    It takes a device that it may open for one that works, and what QEMU says without it for out of date.
    ``accelerator`` is what was found by booting a guest.
    """
    return accelerator == "tcg" and _KVM.exists()


def _ordinary_user() -> int | None:
    return pwd.getpwnam(_USER).pw_uid if os.geteuid() == 0 else None


@contextlib.contextmanager
def _private_folder(user: int | None, mode: int = 0o700) -> Iterator[Path]:
    """Provide a marked folder, which is swept, that only ``user`` can look into, outside of those that only we can."""
    location = Path(tempfile.gettempdir())
    # A worker's own folder for temporary files is closed to everybody else.
    location = location.parent if location.name.startswith(_TEMPORARY) else location
    folder = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{Owner.current().mark}.", dir=location))
    try:
        for name in ("home", "run", "c/libvirt", "cache", "data"):
            (folder / name).mkdir(mode=0o700, parents=True)
        # Else there would be a second daemon (virtlogd), which outlives the first.
        (folder / "c/libvirt/qemu.conf").write_text('stdio_handler = "file"\n')
        for path in (folder, *folder.rglob("*")):
            if user is not None:
                os.chown(path, user, user)
        folder.chmod(mode)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(daemon: subprocess.Popen[bytes], socket: Path) -> None:
    deadline = time.monotonic() + _START
    while not socket.exists():
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise PipelineError(
                "libvirt did not start as an ordinary user",
                hint="the step's log has its words; --engine qemu installs without libvirt",
            )
        time.sleep(0.1)
