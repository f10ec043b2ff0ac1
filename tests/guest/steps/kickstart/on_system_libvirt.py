"""Install release 7 by the machine's libvirt: ``python -m`` this with the media's file, the mirror's port, a folder.

The libvirt is one with its distribution's configuration in a name space of mounts: everything it reads and writes is
private to that, and it ends with us.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.host.system import privileges, process
from pipeline.recipes.model.kickstart import Connection, InstallEngine
from pipeline.steps.kickstart.step import InstallKickstart
from tests.guest.conftest import context_for
from tests.guest.steps.kickstart.stock import GUESTS_VIEW, Stock
from tests.standins.enterprise_linux import Media, Release

_CONFIGURATION = Path("/etc/libvirt")
_PRIVATE = (_CONFIGURATION, *map(Path, ("/run/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt")))
_START = 60.0  # seconds
NAME_SPACE = ("unshare", "--mount", "--propagation", "private")


@contextlib.contextmanager
def libvirt(kept: Path, log: Path) -> Iterator[None]:
    shutil.copytree(_CONFIGURATION, kept, symlinks=True)
    # /run itself, so that the folder below it appears to nobody else.
    process.run(["mount", "-t", "tmpfs", "tmpfs", "/run"])
    for folder in _PRIVATE:
        folder.mkdir(exist_ok=True)
        process.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", folder])
    shutil.copytree(kept, _CONFIGURATION, symlinks=True, dirs_exist_ok=True)
    # The machine's control groups are no more ours than its configuration; a mount over a device is not to be moved.
    with (_CONFIGURATION / "qemu.conf").open("a") as configuration:
        configuration.write("cgroup_controllers = []\nnamespaces = []\n")
    Path("/var/lib/libvirt/boot").mkdir(mode=0o711)  # as its package has it
    _hide(Path("/dev/kvm"))
    with contextlib.ExitStack() as stack:
        said = stack.enter_context(log.open("wb"))
        for daemon in ("virtlogd", "libvirtd"):
            words = privileges.confined([daemon, "--pid-file", f"/run/{daemon}.pid"], user=None)
            stack.enter_context(process.started(words, log=said))
        deadline = time.monotonic() + _START
        while not Path("/run/libvirt/libvirt-sock").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        yield


def _hide(accelerator: Path) -> None:
    """Where it is there but does not work, libvirt asks it for minutes."""
    if accelerator.exists():
        nothing = Path("/run/no-accelerator")
        nothing.touch(mode=0o000)
        process.run(["mount", "--bind", nothing, accelerator])


def main() -> None:
    iso, port, folder = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    media = Media(iso, iso.parent, Release(7, "7.9"))
    stock = Stock(media, f"http://{GUESTS_VIEW}:{port}/", port)
    recipe = stock.recipe("rhel7", InstallEngine.VIRT_INSTALL, connection=Connection.SYSTEM)
    with libvirt(folder / "configuration", folder / "libvirt.log"):
        facts = InstallKickstart().run(context_for(recipe, folder))
        left = process.run(["virsh", "--connect", "qemu:///system", "list", "--all", "--name"]).stdout.split()
    (folder / "facts.json").write_text(json.dumps({**facts, "guests left": left}))


if __name__ == "__main__":
    main()
