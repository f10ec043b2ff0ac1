"""Turn a root file system into a disk that boots by BIOS and by UEFI, in one launch of the appliance.

The files get onto the disk without the appliance: mke2fs(8) writes them at this machine's own speed.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import IO

from pipeline.base import json_text
from pipeline.host.guestfs.guest_files import GuestFiles
from pipeline.host.system import process, user_namespace
from pipeline.recipes.model.debian import DebianInstall
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.reproducible import identity

_MIB = 2048  # sectors
_BLOCK = 4096  # bytes
# As Debian's own cloud images: the root is partition 1 and lies last, so that it can grow.
_ROOT, _BIOS_BOOT, _ESP = 1, 14, 15
_TABLE = """label: gpt
label-id: {disk}
{bios_boot}: start={mib}, size={bios_size}, type=21686148-6449-6E6F-744E-656564454649, uuid={bios}
{esp_number}: start={esp_start}, size={esp_size}, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid={esp}
{root_number}: start={root_start}, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid={root}
"""
_BIOS_SIZE, _ESP_SIZE = 3 * _MIB, 124 * _MIB
_CLOUD = """# Where a cloud's metadata may be; without this list every datasource there is would be tried.
datasource_list: [NoCloud, ConfigDrive, OpenStack, None]
# The one locale that is there from the start.
locale: C.UTF-8
"""
_GRUB = """GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=Debian
GRUB_CMDLINE_LINUX="{arguments}"
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --speed=115200"
GRUB_DISABLE_OS_PROBER=true
"""
# The names of disks differ from launch to launch; GRUB finds the one it stands on.
_LOADERS = """grub-install --target=i386-pc "$(grub-probe --target=disk /)"
grub-install --target=x86_64-efi --efi-directory=/boot/efi --removable --no-nvram --no-uefi-secure-boot
update-grub
systemctl enable serial-getty@ttyS0.service
"""


def partition(target: Path, recipe: Recipe) -> None:
    """Make the RAW file ``target`` with the recipe's size and a partition table of fixed identities."""
    with target.open("wb") as file:
        file.truncate(recipe.disk.size)
    table = _TABLE.format(
        mib=_MIB,
        bios_boot=_BIOS_BOOT,
        bios_size=_BIOS_SIZE,
        esp_number=_ESP,
        esp_start=_MIB + _BIOS_SIZE,
        esp_size=_ESP_SIZE,
        root_number=_ROOT,
        root_start=_MIB + _BIOS_SIZE + _ESP_SIZE,
        **{part: identity(recipe.name, part) for part in ("disk", "bios", "esp", "root")},
    )
    process.run(["sfdisk", "--quiet", target], stdin=table.encode())


def write_root(tree: Path, target: Path, recipe: Recipe, log: IO[bytes]) -> None:
    """Make the root file system of a partitioned disk from the folder ``tree``, which is gone then, also on failure."""
    table = json_text.loads(process.run(["sfdisk", "--json", target]).stdout)["partitiontable"]
    root = next(part for part in table["partitions"] if part["node"].endswith(f"{target.name}{_ROOT}"))
    extended = f"offset={root['start'] * 512},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    # orphan_file and metadata_csum_seed, which newer mke2fs turn on, cannot be read by GRUB 2.06.
    words = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", str(_BLOCK), "-O", "^orphan_file,^metadata_csum_seed"]
    words += ["-L", "root", "-U", str(identity(recipe.name, "root file system")), "-E", extended, "-d", str(tree)]
    words += [str(target), str(root["size"] * 512 // _BLOCK)]
    # Its owners are those of the name space that it was made in.
    script = f"{shlex.join(words)}; made=$?; rm -rf --one-file-system {shlex.quote(str(tree))}; exit $made"
    process.run(user_namespace.as_root(["sh", "-c", script]), log=log, hint="is disk.size large enough?")


def early(recipe: Recipe, install: DebianInstall) -> dict[str, str]:
    """Return the files that packages read while they are configured: the initramfs takes what its root's file system
    needs.
    """
    root = identity(recipe.name, "root file system")
    # The last console is the one /dev/console means.
    arguments = " ".join(("console=tty0", "console=ttyS0,115200", *install.kernel_arguments))
    return {
        "/etc/fstab": f"UUID={root} / ext4 rw,discard,errors=remount-ro 0 1\n"
        f"PARTUUID={identity(recipe.name, 'esp')} /boot/efi vfat umask=0077 0 0\n",
        "/etc/default/grub": _GRUB.format(arguments=arguments),
        "/etc/cloud/cloud.cfg.d/90_datasources.cfg": _CLOUD,
    }


def make_bootable(files: GuestFiles, install: DebianInstall) -> None:
    """Finish a disk that has its root file system: the ESP, what names the host, and both loaders."""
    handle = files.handle
    root, esp = f"/dev/sda{_ROOT}", f"/dev/sda{_ESP}"
    handle.mkfs("vfat", esp, label="ESP")
    handle.mount(root, "/")
    handle.mkdir_p("/boot/efi")
    handle.mount(esp, "/boot/efi")
    files.write("/etc/hostname", "debian\n", mode=0o644)
    files.write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n", mode=0o644)
    if not files.exists(install.keyring):
        # The guest's own updates come from the same archive, under the same keys.
        files.write(install.keyring, Path(install.keyring).read_bytes(), mode=0o644)
    files.run(_LOADERS, "installing the boot loaders")
    handle.sync()
