"""Other ways to the same system: Red Hat's network, a ready image; and other ways to the kickstart."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.host.install import install_tree
from pipeline.host.media import iso
from pipeline.host.qemu import command as qemu_command
from pipeline.host.qemu import guest
from pipeline.host.qemu.hardware import Hardware
from pipeline.host.system import process
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.guest import Customize
from pipeline.recipes.model.kickstart import InstallEngine, KickstartInstall, Subscription
from pipeline.recipes.model.overrides import with_source
from pipeline.steps.image import InstallImage
from pipeline.steps.kickstart import render
from pipeline.steps.kickstart.step import InstallKickstart
from pipeline.steps.offline.step import OfflineStep
from tests.guest.conftest import context_for
from tests.guest.steps.kickstart import image_facts
from tests.guest.steps.kickstart.stock import Mirror, Stock

pytestmark = [pytest.mark.guest, pytest.mark.long, pytest.mark.timeout(1200)]

PASSWORD = "correct-horse"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMine me@example.org"


@pytest.fixture(scope="module")
def registered(seven: Stock, kept: Path) -> Path:
    """A disk whose cloud-init came through a subscription."""
    account = Subscription(username="rhsm-user", password="rhsm-password", pool="rhsm-pool", repositories=("rhel-7",))
    recipe = seven.recipe("rhel7", InstallEngine.QEMU, subscription=account, repositories=())
    folder = kept / "registered"
    context = context_for(recipe, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIPELINE_SECRET_RHSM_USER", "builder")
        patch.setenv("PIPELINE_SECRET_RHSM_PASSWORD", PASSWORD)
        patch.setenv("PIPELINE_SECRET_RHSM_POOL", "pool-1")
        assert PASSWORD not in str(InstallKickstart().inputs(recipe))
        facts = InstallKickstart().run(context)
    assert facts["release"] == "Red Hat Enterprise Linux 7.9"
    return context.disk


def test_packages_come_through_the_subscription(registered: Path, appliance_cache: Path, kept: Path) -> None:
    said = (registered.parent / "evidence/install-serial.log").read_text()
    assert "Installed: cloud-init" in said
    assert "System has been unregistered." in said
    with image_facts.opened(registered, appliance_cache, kept / "look-registered") as system:
        assert {"cloud-init", "cloud-utils-growpart"} <= set(system.packages() or {})
        assert system.glob("/etc/pki/consumer/*") == system.glob("/etc/yum.repos.d/*") == []


def test_the_password_is_nowhere(registered: Path, kept: Path) -> None:
    raw = kept / "registered.raw"
    process.run(["qemu-img", "convert", "-O", "raw", registered, raw])
    evidence = registered.parent / "evidence"
    assert [path for path in (raw, *evidence.iterdir()) if image_facts.has(path, PASSWORD.encode())] == []
    raw.unlink()


def test_a_ready_image_customised(registered: Path, appliance_cache: Path, tmp_path: Path) -> None:
    """The guide's other way, and what cloud-init's users ask an image for, on Enterprise Linux."""
    (shipped,) = RecipeFolder(CHECKOUT / "recipes").load("rhel7-guest-image")
    wishes: dict[str, Any] = {
        **shipped.customize.model_dump(),
        "timezone": "Europe/Paris",
        "hostname": "golden",
        "users": [{"name": "ops", "groups": ["wheel"], "ssh_keys": [KEY]}],
        "files": [{"path": "/etc/motd", "content": "golden\n", "mode": "0640"}],
        "commands": ["echo done > /etc/stays"],
        "disable_services": ["sshd"],
    }
    recipe = with_source(shipped, registered).model_copy(update={"customize": Customize.model_validate(wishes)})
    context = context_for(recipe, tmp_path)
    InstallImage().run(context)
    facts = OfflineStep().run(context)
    assert facts["relabel"]
    assert facts["inspection"]["distro"] == "rhel"
    with image_facts.opened(context.disk, appliance_cache, tmp_path / "look") as system:
        found = image_facts.common(system)
        found["host name"] = system.read("/etc/hostname") == "golden\n"
        found["motd"] = (system.read("/etc/motd"), image_facts.mode(system, "/etc/motd")) == ("golden\n", "0640")
        found["user"] = "ops:x:" in system.read("/etc/passwd") and "wheel:x:10:ops" in system.read("/etc/group")
        found["keys"] = system.read("/home/ops/.ssh/authorized_keys") == f"{KEY}\n"
        found["command"] = system.read("/etc/stays") == "done\n"
        found["zone"] = bytes(system.handle.read_file("/etc/localtime")).startswith(b"TZif")
        found["service"] = image_facts.mode(system, "/etc/rc.d/S70-sshd") == "0644"
    assert [name for name, holds in found.items() if not holds] == []


@pytest.fixture
def start(seven: Stock, tmp_path: Path) -> Callable[[str, list[Path]], str]:
    """Starts the installer without a kickstart in its RAM disk; returns what it said until it has one, or asks."""

    def until(arguments: str, cdroms: list[Path]) -> str:
        disk = tmp_path / "disk.qcow2"
        process.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "768M"])
        with install_tree.opened(seven.media.iso) as tree:
            kernel, initrd = tree.extract_installer(tmp_path)
        machine = qemu_command.Machine(
            "installer",
            "tcg",
            Hardware(disk_bus="scsi", scsi_model="virtio-scsi", video_model="none"),
            memory=768 << 20,
            disks=[qemu_command.GuestDisk(disk, "qcow2")],
            cdroms=[qemu_command.GuestDisk(path, "raw", read_only=True) for path in [seven.media.iso, *cdroms]],
            network=qemu_command.GuestNetwork(restricted=False),
            direct=qemu_command.DirectBoot(kernel, initrd, f"console=ttyS0 net.ifnames=0 {arguments}"),
        )
        with guest.running(machine, tmp_path / "evidence") as running:
            running.wait_for_text("Creating xfs on", 180, "the partitioning")
            return running.console.text

    return until


def kickstart(seven: Stock) -> bytes:
    recipe = seven.recipe("rhel7", InstallEngine.QEMU)
    assert isinstance(recipe.install, KickstartInstall)
    return render.render(recipe, recipe.install, "t").encode()


def test_a_kickstart_on_a_volume_called_oemdrv(
    seven: Stock, start: Callable[[str, list[Path]], str], tmp_path: Path
) -> None:
    volume = tmp_path / "oemdrv.iso"
    iso.write(volume, "OEMDRV", {"ks.cfg": kickstart(seven)})
    assert "Saving storage configuration" in start("", [volume])


def test_a_kickstart_from_a_server(seven: Stock, start: Callable[[str, list[Path]], str], tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    (served / "ks.cfg").write_bytes(kickstart(seven))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Mirror, directory=str(served))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said = start(f"inst.ks=http://10.0.2.2:{server.server_port}/ks.cfg", [])
        server.shutdown()
    assert "Saving storage configuration" in said


def test_without_a_kickstart_it_asks(start: Callable[[str, list[Path]], str]) -> None:
    with pytest.raises(guest.GuestFailed) as caught:
        start("", [])
    assert caught.value.diagnosis == "prompt"
    assert "Language settings" in caught.value.message
