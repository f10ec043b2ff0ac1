"""Debian from its packages: the archive to a signed image that was booted, a look inside, and one more boot."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.home import CHECKOUT, Home
from pipeline.base.progress import nothing
from pipeline.engine.build import build
from pipeline.engine.record.result import BuildResult
from pipeline.engine.run.options import BuildOptions
from pipeline.host.guestfs import contents
from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.host.media import iso
from pipeline.host.qemu import command as qemu_command
from pipeline.host.qemu import guest
from pipeline.host.qemu.hardware import Hardware
from pipeline.host.system import process
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.guest import CloudInit, Datasource
from pipeline.steps.offline import cloud_init, inspection, sysprep

pytestmark = [pytest.mark.guest, pytest.mark.long, pytest.mark.timeout(3600)]

SEED = b"""#cloud-config
ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMine me@example.org]
write_files:
- {path: /root/written, content: hello, permissions: "0600"}
- path: /root/look
  content: |
    echo "seen $(hostname) $(stat -c %a /root/written) $(id -nG debian)"
    echo "keys $(stat -c %U:%a ~debian/.ssh/authorized_keys)"
    echo "root $(df -m / | awk 'NR == 2 { print $2 }') MiB"
    echo "services $(systemctl is-active systemd-resolved systemd-networkd ssh | xargs)"
    echo "failed $(systemctl list-units --failed --no-legend | wc -l), done"
runcmd:
- sh /root/look > /dev/ttyS0
"""
# Every file of settings that we write, judged by cloud-init's own schema; and that it does judge.
EVERYTHING = CloudInit(datasources=tuple(Datasource), grow_root=False)
SCHEMA = f"""judge() {{ cloud-init schema --config-file /root/judged 2>&1 || true; }}
{{ echo '#cloud-config'; cat /etc/cloud/cloud.cfg.d/90_datasources.cfg; }} > /root/judged; judge
cat > /root/judged << 'END'
{SEED.decode()}
END
judge
printf '#cloud-config\\n%s' '{cloud_init.text(CloudInit()).replace("'", '"')}' > /root/judged; judge
printf '#cloud-config\\n%s' '{cloud_init.text(EVERYTHING).replace("'", '"')}' > /root/judged; judge
printf '#cloud-config\\ngrowpart: 7\\n' > /root/judged; judge
rm /root/judged
"""


@dataclass
class Built:
    """The build's result, and what was found in the finished image."""

    result: BuildResult
    files: dict[str, str]
    modes: dict[str, str]
    left: dict[str, int]
    absent: list[str]
    schema: str
    inspected: dict[str, Any]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    folder = tmp_path_factory.mktemp("debian")
    home = Home(folder / "home", folder / "home" / "cache")
    (recipe,) = RecipeFolder(CHECKOUT / "recipes").load("debian-12")
    (result,) = build([recipe], BuildOptions(home=home))
    assert result.error is None, result.error
    product = next(each.path for each in result.products if each.format == "qcow2")
    appliance = Appliance("tcg", home.cache / "appliance", folder, (folder / "log").open("wb"))
    overlay = folder / "look.qcow2"
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", product, overlay])
    with appliance.launched([Drive(overlay, "qcow2")]) as handle:
        system = GuestSystem.open(handle, appliance.log)
        paths: tuple[str, ...] = (
            "/etc/fstab",
            "/etc/default/grub",
            "/boot/grub/grub.cfg",
            "/etc/machine-id",
            "/etc/shadow",
        )
        paths += ("/etc/apt/sources.list", "/etc/cloud/cloud.cfg.d/90_datasources.cfg", "/etc/hostname")
        inspected = inspection.facts(system)
        files = {path: system.read(path) for path in paths}
        look = (
            "stat -c '%a %U %G %n' /etc/shadow /etc/sudoers /root /etc/ssh /usr/bin/sudo; getcap /usr/bin/ping || true"
        )
        modes = {line.split()[3]: line for line in system.run(look, "looking").splitlines() if line.count(" ") == 3}
        gone = ("/etc/ssh/ssh_host_ed25519_key", "/etc/apt/apt.conf.d/99mmdebstrap", "/etc/resolv.conf.orig")
        absent = [path for path in gone if not system.exists(path)]
        schema = system.run(SCHEMA, "asking cloud-init")
        left = sysprep.apply(system, recipe)
    yield Built(result, files, modes, left, absent, schema, inspected)


def test_it_boots_with_both_firmwares_and_is_signed(built: Built) -> None:
    facts = built.result.facts
    assert facts["boot_test"]["firmware"]["uefi"]["powered_off"]
    assert facts["firmware_test"]["firmware"]["bios"]["powered_off"]
    assert facts["firmware_test"]["boot_chain"] == facts["offline"]["boot_chain"] is not None
    assert all(each.signature for each in built.result.products)


def test_it_is_what_the_recipe_claims(built: Built) -> None:
    found = built.result.facts["offline"]["inspection"]
    assert (found["distro"], found["major"], found["firmware"]) == ("debian", 12, ["bios", "uefi"])
    assert found["cloud_init"] and found["guest_agent"]
    assert {"cloud-init", "grub-pc-bin", "grub-efi-amd64-bin", "systemd-resolved"} <= set(found["packages"])


def test_inspecting_it_anew_finds_the_same(built: Built) -> None:
    """The build inspects it once, after the installation."""
    assert built.result.facts["install"]["system"]["mounts"] == built.inspected["mounts"]
    assert built.result.facts["offline"]["inspection"] == built.inspected


def test_the_golden_facts(built: Built) -> None:
    assert re.search(r"^UUID=[0-9a-f-]{36} / ext4 ", built.files["/etc/fstab"], re.M)
    assert "console=tty0 console=ttyS0,115200" in built.files["/boot/grub/grub.cfg"]
    assert "root=UUID=" in built.files["/boot/grub/grub.cfg"]
    assert "datasource_list: [NoCloud, ConfigDrive, OpenStack, None]" in next(
        text for path, text in built.files.items() if path.endswith("90_datasources.cfg")
    )
    assert "bookworm-security" in built.files["/etc/apt/sources.list"]
    assert re.search(r"^root:[*!]", built.files["/etc/shadow"], re.M), "root has no password"
    assert built.modes["/etc/shadow"].startswith("640 root shadow")
    assert built.modes["/usr/bin/sudo"].startswith("4755 root root")
    assert built.modes["/root"].startswith("700 root root")


def test_cloud_init_knows_the_settings_that_are_written_for_it(built: Built) -> None:
    assert built.schema.count("Valid cloud-config") == 4, built.schema
    assert "Invalid" in built.schema or "is not of type" in built.schema, "it does judge"


def test_nothing_of_the_build_is_left(built: Built) -> None:
    assert built.files["/etc/machine-id"] == ""
    assert len(built.absent) == 3
    assert built.left == {}


def test_virt_sysprep_finds_nothing_to_change(built: Built, tmp_path: Path) -> None:
    overlay, since = tmp_path / "sysprepped.qcow2", int(time.time()) - 1
    base = built.result.product("qcow2").path
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, overlay])
    listed = process.run(["virt-sysprep", "--list-operations"]).stdout
    # It sets a new seed of chance, which is nothing that was left over.
    wanted = [line.split()[0] for line in listed.splitlines() if " * " in line and "customize" not in line]
    environment = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg", "TMPDIR": str(tmp_path)}
    words: list[str | Path] = ["virt-sysprep", "--format", "qcow2", "-a", overlay, "--quiet"]
    process.run([*words, "--operations", ",".join(wanted)], timeout=900, env=environment)
    with (tmp_path / "log").open("wb") as log:
        appliance = Appliance("tcg", tmp_path / "appliance", tmp_path, log)
        with appliance.launched([Drive(overlay, "qcow2", read_only=True)]) as handle:
            system = GuestSystem.open(handle, log)
            files = set(system.tree().kinds)
            changed = system.run(f"find / -xdev -newerct @{since} ! -path '/tmp*'", "looking for changes").split()
    before = set(contents.unpack(built.result.facts["scan"]["files"]))
    assert before <= files
    # It empties the machine id again, empty as that is; the others are where the appliance mounts its own.
    assert set(changed) <= {"/etc/machine-id", "/dev", "/proc", "/sys"}


def test_cloud_init_applies_a_seed_on_a_larger_disk(built: Built, tmp_path: Path) -> None:
    product = next(each.path for each in built.result.products if each.format == "qcow2")
    seed, overlay = tmp_path / "seed.iso", tmp_path / "overlay.qcow2"
    iso.config_drive(seed, metadata={"uuid": "i-1", "hostname": "web"}, user_data=SEED)
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", overlay, "5G"])
    hardware = Hardware.from_properties(built.result.recipe.image_properties)
    disk = qemu_command.GuestDisk(overlay, "qcow2", base=qemu_command.GuestDisk(product, "qcow2", read_only=True))
    cdrom = qemu_command.GuestDisk(seed, "raw", read_only=True)
    machine = qemu_command.Machine("debian", "tcg", hardware, memory=1 << 30, vcpus=2, disks=[disk], cdroms=[cdrom])
    with guest.running(machine, tmp_path / "run") as running:
        running.wait_for_text("failed 0, done", 900, "the end of user-data", progress=nothing)
        said = running.console.text
        assert running.power_off(120)
    assert re.search(r"seen web 600 debian\b", said)
    assert "keys debian:600" in said
    assert "services active active active" in said
    size = re.search(r"root (\d+) MiB", said)
    assert size is not None, shlex.quote(said[-2000:])
    assert int(size[1]) > 4500
