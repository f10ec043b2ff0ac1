"""Images in the manner of distributions' own: their partitions, file systems and settings, around a small system.

The layouts are those of the makers' own build files: AlmaLinux's and Rocky's kickstarts, osbuild's definition of
CentOS Stream, livecd-rootfs of Ubuntu, and Debian's cloud-images configuration. All start with this machine's kernel,
by GRUB on BIOS and by systemd-boot on UEFI.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.guest_files import GuestFiles
from pipeline.host.system import kernel, process
from tests.standins import cloud_roots, grub

_UEFI_LOADER = Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")
_GRUB_CFG = """serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
linux {boot}/vmlinuz-{version} {line}
initrd {boot}/initramfs-{version}.img
boot
"""
_ENTRY = """title Stand-in
linux /vmlinuz
initrd /initramfs.img
options {line}
"""
_TYPES = {
    "biosboot": "21686148-6449-6E6F-744E-656564454649",
    "prepboot": "9E1A2D38-C612-4316-AA26-8B49521E5A8B",
    "esp": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "linux": "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
}
_CLOUD_CFG = """users: [default]
disable_root: true
cloud_init_modules: [growpart, resizefs, users-groups, ssh]
system_info:
  default_user:
    name: {user}
    lock_passwd: true
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
    shell: /bin/bash
  distro: {distro}
"""
# What a used system has, and an image must not.
LEFT_OVER = {
    "/etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "/etc/ssh/ssh_host_ed25519_key": "host key",
    "/var/log/cloud-init.log": "log",
    "/var/lib/cloud/instance/user-data.txt": "#!/bin/sh\n",
    "/var/lib/systemd/random-seed": "seed",
    "/root/.bash_history": "history",
}


@dataclass(frozen=True)
class Part:
    """A partition: its number, kind, size in MiB (0: the rest), and its file system with label and mount point."""

    number: int
    kind: str
    size: int
    file_system: str = ""
    mount: str = ""
    label: str = ""


@dataclass(frozen=True)
class CloudImage:
    """A distribution's image: partitions in their order on the disk, and what ``os-release`` says."""

    distro: str
    name: str
    version: str
    user: str
    parts: Sequence[Part]
    root: str = "enterprise"


_XFS = 320  # MiB: mkfs.xfs makes none below 300


def _enterprise(before: Sequence[Part], boot_label: str = "") -> list[Part]:
    last = len(before)
    return [*before, Part(last + 1, "linux", _XFS, "xfs", "/boot", boot_label), Part(last + 2, "linux", 0, "xfs", "/")]


IMAGES: Mapping[str, CloudImage] = {
    "almalinux-9": CloudImage(
        "almalinux",
        "AlmaLinux",
        "9.6",
        "almalinux",
        _enterprise([Part(1, "biosboot", 1), Part(2, "esp", 200, "vfat", "/boot/efi")]),
    ),
    "centos-stream-9": CloudImage(
        "centos",
        "CentOS Stream",
        "9",
        "cloud-user",
        _enterprise([Part(1, "biosboot", 1), Part(2, "esp", 200, "vfat", "/boot/efi")], "boot"),
    ),
    "rocky-9": CloudImage(
        "rocky",
        "Rocky Linux",
        "9.6",
        "rocky",
        _enterprise([Part(1, "prepboot", 4), Part(2, "biosboot", 1), Part(3, "esp", 100, "vfat", "/boot/efi")], "boot"),
    ),
    "ubuntu-22.04": CloudImage(
        "ubuntu",
        "Ubuntu",
        "22.04",
        "ubuntu",
        [
            Part(14, "biosboot", 4),
            Part(15, "esp", 106, "vfat", "/boot/efi", "UEFI"),
            Part(1, "linux", 0, "ext4", "/", "cloudimg-rootfs"),
        ],
        "debian",
    ),
    "ubuntu-24.04": CloudImage(
        "ubuntu",
        "Ubuntu",
        "24.04",
        "ubuntu",
        [
            Part(14, "biosboot", 4),
            Part(15, "esp", 106, "vfat", "/boot/efi", "UEFI"),
            Part(16, "linux", 913, "ext4", "/boot", "BOOT"),
            Part(1, "linux", 0, "ext4", "/", "cloudimg-rootfs"),
        ],
        "debian",
    ),
    "debian-12-cloud": CloudImage(
        "debian",
        "Debian GNU/Linux",
        "12",
        "debian",
        [
            Part(14, "biosboot", 3),
            Part(15, "esp", 124, "vfat", "/boot/efi"),
            Part(1, "linux", 0, "ext4", "/"),
        ],
        "debian",
    ),
}


def make(name: str, folder: Path, size: int, appliance: Appliance) -> Path:
    """The image of ``name`` as a QCOW2 file with a disk of ``size`` bytes, by one launch of the appliance.

    What those of one kind share is made once in ``folder``.
    """
    image, raw, made = IMAGES[name], folder / "disk.raw", folder / f"{name}.qcow2"
    archive = folder / f"{image.root}.tar"
    if not archive.exists():
        cloud_roots.MAKERS[image.root](archive)
    _partition(raw, image, size)
    with appliance.launched([Drive(raw, "raw")]) as handle:
        _fill(GuestFiles(handle, appliance.log), image, archive)
    process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", raw, made])
    raw.unlink()
    return made


def _partition(raw: Path, image: CloudImage, size: int) -> None:
    with raw.open("wb") as file:
        file.truncate(size)
    lines = ["label: gpt"]
    for part in image.parts:
        length = f"size={part.size * 2048}, " if part.size else ""
        lines.append(
            f"{part.number}: start={_start(image, part)}, {length}type={_TYPES[part.kind]}, uuid={uuid.uuid4()}"
        )
    process.run(["sfdisk", "--quiet", raw], stdin="\n".join(lines).encode())


def _start(image: CloudImage, wanted: Part) -> int:
    """The first sector of a partition."""
    return 2048 * (1 + sum(part.size for part in image.parts[: image.parts.index(wanted)]))


def _fill(files: GuestFiles, image: CloudImage, archive: Path) -> None:
    handle = files.handle
    table, line = "", ""
    for part in sorted((part for part in image.parts if part.mount), key=lambda part: len(part.mount)):
        device = f"/dev/sda{part.number}"
        _make_file_system(handle, device, part)
        if part.mount != "/":
            handle.mkdir_p(part.mount)
        handle.mount(device, part.mount)
        if part.mount == "/":
            # Of an emulated machine that others load, the kernel else finds now and then that its timer does not work.
            line = f"root=UUID={handle.vfs_uuid(device)} ro no_timer_check console=tty0 console=ttyS0,115200n8"
        table += f"{_named(handle, device, part, image)} {part.mount} {part.file_system} defaults 0 0\n"
    # The kernel is on a file system of its own where the image has one.
    handle.tar_in(str(archive), "/")
    files.write("/etc/fstab", table)
    for path, content in {**_settings(image), **LEFT_OVER}.items():
        files.write(path, content)
    _make_startable(files, image, line, archive.parent)


def _make_startable(files: GuestFiles, image: CloudImage, line: str, folder: Path) -> None:
    """On BIOS, GRUB in the partition for it, with its menu beside the kernel; on UEFI, what the fallback path finds."""
    version = kernel.newest("cloud").version
    own = any(part.mount == "/boot" for part in image.parts)
    menu = f"{'grub2' if image.root == 'enterprise' else 'grub'}/grub.cfg"
    files.write(f"/boot/{menu}", _GRUB_CFG.format(boot="" if own else "/boot", version=version, line=line))
    location = next(part for part in image.parts if part.kind == "biosboot")
    found = f"{'' if own else '/boot'}/{menu}"
    start = f"search --no-floppy --file --set=root {found}\nconfigfile {found}\n"
    boot_code, core = grub.bios(folder, _start(image, location), "/boot/grub", start)
    files.handle.pwrite_device("/dev/sda", boot_code, 0)
    files.handle.pwrite_device(f"/dev/sda{location.number}", core, 0)
    for source, target in ((f"vmlinuz-{version}", "vmlinuz"), (f"initramfs-{version}.img", "initramfs.img")):
        files.handle.cp(f"/boot/{source}", f"/boot/efi/{target}")
    files.write("/boot/efi/loader/loader.conf", "timeout 0\n")
    files.write("/boot/efi/loader/entries/standin.conf", _ENTRY.format(line=line))
    files.write("/boot/efi/EFI/BOOT/BOOTX64.EFI", _UEFI_LOADER.read_bytes())


def _named(handle: Any, device: str, part: Part, image: CloudImage) -> str:
    """How the maker's fstab names a file system."""
    match image.distro:
        case "ubuntu":
            return f"LABEL={part.label}"
        case "debian":
            return f"PARTUUID={handle.blkid(device)['PART_ENTRY_UUID']}"
    return f"UUID={handle.vfs_uuid(device)}"


def _make_file_system(handle: Any, device: str, part: Part) -> None:
    options = {"label": part.label} if part.label else {}
    handle.mkfs(part.file_system, device, **options)


def _settings(image: CloudImage) -> dict[str, str]:
    pretty = f"{image.name} {image.version}"
    found = {
        "/etc/os-release": f'NAME="{image.name}"\nID="{image.distro}"\nVERSION_ID="{image.version}"\n'
        f'PRETTY_NAME="{pretty}"\n',
        "/etc/cloud/cloud.cfg": _CLOUD_CFG.format(user=image.user, distro=image.distro),
        "/etc/hostname": "localhost\n",
    }
    if image.root == "debian":
        return found
    return {
        **found,
        "/etc/redhat-release": f"{image.name} release {image.version}\n",
        "/etc/selinux/config": "SELINUX=enforcing\nSELINUXTYPE=targeted\n",
    }
