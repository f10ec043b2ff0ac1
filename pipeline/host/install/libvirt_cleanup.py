"""Remove what killed processes left in a libvirt that goes on: guests, volumes, pools, found by the mark in their
names.

A daemon of our own (``libvirt.session``) is an ordinary process and goes with its folder. This is for those that
others run: the machine's, and the user's. They are asked only if they run already.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from pipeline.base.errors import PipelineError
from pipeline.host.system import process

_TIMEOUT = 30
_SYSTEM = ("/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock")
_SESSION = ("libvirt/libvirt-sock", "libvirt/virtqemud-sock")


class Virsh(Protocol):
    """Asks one libvirt."""

    def __call__(self, *words: str, check: bool = True) -> process.Finished:
        """As ``process.run`` of virsh(1) with ``words``."""


def running() -> list[Virsh]:
    """Return the libvirts of this machine and user that run now and let us in."""
    found = []
    if any(os.access(socket, os.W_OK) for socket in _SYSTEM):
        found.append(_asking("qemu:///system"))
    location = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    if any((Path(location) / socket).exists() for socket in _SESSION):
        found.append(_asking("qemu:///session"))
    return found


def remove(virsh: Virsh, is_dead: Callable[[str], bool]) -> Iterator[str]:
    """Remove what has the mark of a dead owner in its name; say of each thing what it was."""
    with contextlib.suppress(PipelineError):
        yield from _guests(virsh, is_dead)
        yield from _storage(virsh, is_dead)


def _guests(virsh: Virsh, is_dead: Callable[[str], bool]) -> Iterator[str]:
    for name in filter(is_dead, _lines(virsh("list", "--all", "--name"))):
        # One that runs only in memory is gone with the first, one that is only defined with the second.
        virsh("destroy", name, check=False)
        virsh("undefine", name, "--nvram", "--managed-save", check=False)
        yield f"removed the guest {name} from libvirt"


def _storage(virsh: Virsh, is_dead: Callable[[str], bool]) -> Iterator[str]:
    for pool in _lines(virsh("pool-list", "--all", "--name")):
        if is_dead(pool):
            virsh("pool-destroy", pool, check=False)
            virsh("pool-undefine", pool, check=False)
            yield f"removed the storage pool {pool} from libvirt"
            continue
        virsh("pool-refresh", pool, check=False)
        for line in _lines(virsh("vol-list", pool, check=False)):
            volume = line.split()[0]
            if is_dead(volume) and virsh("vol-delete", volume, "--pool", pool, check=False).status == 0:
                yield f"removed the volume {volume} from libvirt's pool {pool}"


def _asking(uri: str) -> Virsh:
    def ask(*words: str, check: bool = True) -> process.Finished:
        return process.run(["virsh", "--quiet", "--connect", uri, *words], timeout=_TIMEOUT, check=check)

    return ask


def _lines(finished: process.Finished) -> list[str]:
    return [line.strip() for line in finished.stdout.splitlines() if line.strip()]
