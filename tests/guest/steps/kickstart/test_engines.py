"""Whatever runs the installer, the same recipe gives the same system."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.host.system import process
from pipeline.recipes.model.kickstart import InstallEngine
from pipeline.steps.kickstart.step import InstallKickstart
from tests.guest.conftest import context_for
from tests.guest.steps.kickstart import image_facts
from tests.guest.steps.kickstart.on_system_libvirt import NAME_SPACE
from tests.guest.steps.kickstart.stock import Stock

pytestmark = [pytest.mark.guest, pytest.mark.long, pytest.mark.timeout(1200)]

# What is another in each installation: names and times, keys, and the database of packages with their times.
OF_ONE_MACHINE = ("/etc/fstab", "/etc/machine-id", "/boot/grub2/", "/var/lib/", "/var/log/", "/root/anaconda-ks.cfg")


def files(disk: Path, cache: Path, scratch: Path) -> dict[str, str]:
    """The digest of each file that is the same in every installation."""
    with image_facts.opened(disk, cache, scratch) as system:
        listing = scratch / "sums"
        system.handle.checksums_out("sha256", "/", str(listing))
    lines = [line.split(maxsplit=1) for line in listing.read_text().splitlines()]
    return {name[1:]: digest for digest, name in lines if not name[1:].startswith(OF_ONE_MACHINE)}


@pytest.fixture(scope="module")
def by_qemu(seven: Stock, kept: Path, appliance_cache: Path) -> dict[str, str]:
    folder = kept / "by-qemu"
    context = context_for(seven.recipe("rhel7", InstallEngine.QEMU), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("http_proxy", f"http://127.0.0.1:{seven.port}")
        assert InstallKickstart().run(context)["engine"] == "qemu"
    return files(context.disk, appliance_cache, folder)


def test_virt_install_on_a_libvirt_of_our_own(
    seven: Stock, by_qemu: dict[str, str], appliance_cache: Path, tmp_path: Path, through_mirror: Callable[..., None]
) -> None:
    through_mirror(seven)
    context = context_for(seven.recipe("rhel7", InstallEngine.VIRT_INSTALL), tmp_path)
    assert InstallKickstart().run(context)["engine"] == "virt-install"
    found = files(context.disk, appliance_cache, tmp_path)
    assert len(found) > 100
    assert found == by_qemu
    assert context.disk.stat().st_uid == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has mounts of its own")
@pytest.mark.skipif(shutil.which("virtlogd") is None, reason="needs libvirt's daemons")
def test_virt_install_on_the_machines_libvirt(
    seven: Stock, by_qemu: dict[str, str], appliance_cache: Path, tmp_path: Path
) -> None:
    before = seven.media.iso.stat()
    module = "tests.guest.steps.kickstart.on_system_libvirt"
    words: list[str | Path] = [*NAME_SPACE, sys.executable, "-m", module, seven.media.iso, str(seven.port), tmp_path]
    environment = {"http_proxy": f"http://127.0.0.1:{seven.port}"}
    process.run(words, cwd=CHECKOUT, env=environment, timeout=900)
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert (facts["release"], facts["guests left"]) == ("Red Hat Enterprise Linux 7.9", [])
    disk, after = tmp_path / "disk.qcow2", seven.media.iso.stat()
    assert disk.stat().st_uid == os.geteuid()
    # libvirt gives a guest's files to the guest: the media are not among them.
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)
    assert files(disk, appliance_cache, tmp_path) == by_qemu
