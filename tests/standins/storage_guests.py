"""Systems on LVM and btrfs, as installers lay them out, with everything in them that copying and editing loses easily.

Names that are not UTF-8, access lists, SELinux's labels, hard links, attributes of chattr(1), and an fstab(5) with the
line that cloud-init writes for an ephemeral disk. They start from their disk by GRUB on BIOS.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.host.guestfs import appliance_shell
from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.guest_files import GuestFiles
from pipeline.host.media.initramfs import Archive
from pipeline.host.system import kernel, process
from pipeline.host.system.kernel import Kernel, module_name, read_module
from tests.standins import cloud_roots, grub
from tests.standins.cloud_images import LEFT_OVER
from tests.standins.enterprise_linux.files import libraries

_DRIVERS = (
    "virtio_pci",
    "virtio_blk",
    "virtio_scsi",
    "sd_mod",
    "sr_mod",
    "ata_piix",
    "virtio_rng",
    "ext4",
    "xfs",
    "btrfs",
    "dm_mod",
)
_LVM = Path("/usr/sbin/lvm")
# No udev makes the nodes.
_LVM_CONF = """activation { udev_sync = 0 udev_rules = 0 }
devices { obtain_device_list_from_udev = 0 external_device_info_source = "none" }
"""
_LATIN = os.fsdecode(b"/srv/caf\xe9")
FOUND_BY_IDS = "GRUB found the root by its ids"
_MENU = """serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
{look}
linux {boot}/vmlinuz-{version} {line} no_timer_check console=tty0 console=ttyS0,115200n8
initrd {boot}/initramfs-{version}.img
boot
"""
_EPHEMERAL = (
    "/dev/vdb /mnt auto defaults,nofail,x-systemd.requires=cloud-init.service,_netdev,comment=cloudconfig 0 2\n"
)
_TREE = {
    "/etc/os-release": 'NAME="AlmaLinux"\nID="almalinux"\nVERSION_ID="9.6"\nPRETTY_NAME="AlmaLinux 9.6"\n',
    "/etc/redhat-release": "AlmaLinux release 9.6\n",
    "/etc/selinux/config": "SELINUX=enforcing\nSELINUXTYPE=targeted\n",
    "/etc/hostname": "localhost\n",
    "/srv/shared": "by an access list\n",
    "/srv/one": "a file of two names\n",
    "/srv/journal": "only ever longer\n",
    "/etc/issue": "hardened\n",
}
_SNAPSHOTS = "/@/.snapshots"


@dataclass(frozen=True)
class StorageGuest:
    """What a system lies on. ``partitions`` are the sizes in MiB behind the one for GRUB; the last takes the rest."""

    file_system: str
    size: int
    own_boot: bool = False


GUESTS: Mapping[str, StorageGuest] = {
    "lvm": StorageGuest("xfs", 420 << 20),
    "lvm-boot": StorageGuest("xfs", 480 << 20, own_boot=True),
    "btrfs": StorageGuest("btrfs", 320 << 20),
}


def make(name: str, folder: Path, appliance: Appliance) -> Path:
    """The image of ``name`` as a QCOW2 file, by one launch of the appliance."""
    raw, made = partitioned(name, folder), folder / f"{name}.qcow2"
    with appliance.launched([Drive(raw, "raw")]) as handle:
        fill(name, GuestFiles(handle, appliance.log), folder)
    process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, made])
    raw.unlink()
    return made


def partitioned(name: str, folder: Path) -> Path:
    """A raw disk with the partitions of ``name``, and nothing in them."""
    guest, raw = GUESTS[name], folder / "disk.raw"
    with raw.open("wb") as file:
        file.truncate(guest.size)
    table = "label: gpt\nstart=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649\n"
    table += "size=131072\n" if guest.own_boot else ""
    process.run(["sfdisk", "--quiet", raw], stdin=f"{table}type=L\n".encode())
    return raw


def fill(name: str, files: GuestFiles, folder: Path) -> None:
    """Make the system on the appliance's first disk, and leave it mounted; ``folder`` keeps what guests share."""
    archive, guest = folder / "enterprise.tar", GUESTS[name]
    if not archive.exists():
        cloud_roots.MAKERS["enterprise"](archive)
    (_on_btrfs if guest.file_system == "btrfs" else _on_lvm)(files, guest, archive)


def _on_lvm(files: GuestFiles, guest: StorageGuest, archive: Path) -> None:
    """As Anaconda: a group named for the distribution, with swap and root; /boot beside it or on the root."""
    handle, below = files.handle, "/dev/sda3" if guest.own_boot else "/dev/sda2"
    handle.pvcreate(below)
    handle.vgcreate("rhel", [below])
    handle.lvcreate("swap", "rhel", 16)
    handle.lvcreate_free("root", "rhel", 100)
    handle.mkswap("/dev/rhel/swap")
    handle.mkfs("xfs", "/dev/rhel/root")
    handle.mount("/dev/rhel/root", "/")
    table = f"/dev/mapper/rhel-root / xfs defaults 0 0\n/dev/mapper/rhel-swap none swap defaults 0 0\n{_EPHEMERAL}"
    if guest.own_boot:
        handle.mkfs("ext4", "/dev/sda2")
        handle.mkdir("/boot")
        handle.mount("/dev/sda2", "/boot")
        table += f"UUID={handle.vfs_uuid('/dev/sda2')} /boot ext4 defaults 0 0\n"
    _fill(files, archive, table)
    ids = appliance_shell.read(handle, "lvm lvs --noheadings --separator / -o vg_uuid,lv_uuid rhel/root")
    volume = f"lvmid/{ids.decode().strip()}"
    look = f"search --no-floppy --fs-uuid --set=root --hint='{volume}' {handle.vfs_uuid('/dev/rhel/root')}\n"
    look += f'if [ -f ({volume})/etc/os-release ]; then echo "{FOUND_BY_IDS}"; fi'
    line, boot = "root=/dev/mapper/rhel-root rootfstype=xfs", "(hd0,gpt2)" if guest.own_boot else "/boot"
    prefix = "(hd0,gpt2)/grub2" if guest.own_boot else f"({volume})/boot/grub2"
    _make_startable(files, archive.parent, prefix, look=look, boot=boot, line=line)


def _on_btrfs(files: GuestFiles, guest: StorageGuest, archive: Path) -> None:
    """As YaST: the root is a snapshot, which is the default subvolume; snapper's own beside it, read-only."""
    handle = files.handle
    handle.mkfs("btrfs", "/dev/sda2", label="system")
    handle.mount("/dev/sda2", "/")
    for subvolume in ("/@", "/@/home", _SNAPSHOTS):
        handle.btrfs_subvolume_create(subvolume)
    for number in (1, 2):
        handle.mkdir(f"{_SNAPSHOTS}/{number}")
    handle.btrfs_subvolume_create(f"{_SNAPSHOTS}/1/snapshot")
    numbers = {each["btrfssubvolume_path"]: each["btrfssubvolume_id"] for each in handle.btrfs_subvolume_list("/")}
    handle.btrfs_subvolume_set_default(numbers[f"{_SNAPSHOTS[1:]}/1/snapshot"], "/")
    handle.umount("/")
    handle.mount("/dev/sda2", "/")
    disk = f"UUID={handle.vfs_uuid('/dev/sda2')}"
    table = f"{disk} / btrfs defaults 0 0\n{disk} /home btrfs subvol=/@/home 0 0\n"
    table += f"{disk} /.snapshots btrfs subvol={_SNAPSHOTS} 0 0\n{_EPHEMERAL}"
    handle.mkdir("/.snapshots")
    _fill(files, archive, table, left_over=False)
    prefix = f"(hd0,gpt2){_SNAPSHOTS}/1/snapshot/boot"
    _make_startable(
        files, archive.parent, f"{prefix}/grub2", look="", boot=prefix, line="root=LABEL=system rootfstype=btrfs"
    )
    files.write("/etc/fstab.bak", "as it was before the snapshot\n")
    # What an earlier state of the system has, and cannot be changed.
    take = "mount -t btrfs -o subvol=/ $(findfs LABEL=system) /mnt && cd /mnt/@/.snapshots && "
    take += "btrfs subvolume snapshot -r 1/snapshot 2/snapshot >&2; s=$?; cd /; umount /mnt; exit $s"
    appliance_shell.read(handle, f"mkdir -p /mnt; {take}")
    for path, content in LEFT_OVER.items():
        files.write(path, content)


def _fill(files: GuestFiles, archive: Path, table: str, *, left_over: bool = True) -> None:
    handle = files.handle
    handle.tar_in(str(archive), "/")
    handle.mkdir_p("/srv")
    for path, content in {**_TREE, **(LEFT_OVER if left_over else {}), "/etc/fstab": table}.items():
        files.write(path, content)
    handle.ln("/srv/one", "/srv/two")
    handle.acl_set_file("/srv/shared", "access", "u::rw-,u:1000:r--,g::r--,m::r--,o::---")
    for path, label in (("/etc/hostname", "hostname_etc_t"), ("/srv/shared", "public_content_t")):
        value = f"system_u:object_r:{label}:s0"
        handle.setxattr("security.selinux", value, len(value), path)
    handle.setxattr("user.origin", "elsewhere", 9, "/srv/one")
    _add_odd_names(handle, archive.parent)
    appliance_shell.read(handle, "cd /sysroot; chattr +i etc/issue && chattr +a srv/journal")


def _add_odd_names(handle: Any, folder: Path) -> None:
    packed = folder / "odd.tar"
    with tarfile.open(packed, "w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        for name in (f"{_LATIN}.txt", f"{_LATIN}.bak"):
            member = tarfile.TarInfo(f".{name}")
            member.size = 4
            archive.addfile(member, io.BytesIO(b"odd\n"))
    handle.tar_in(str(packed), "/")


def _make_startable(files: GuestFiles, folder: Path, prefix: str, *, look: str, boot: str, line: str) -> None:
    version = kernel.newest("cloud").version
    packed = folder / "initramfs"
    packed.write_bytes(_initramfs(kernel.newest("cloud")))
    files.handle.upload(str(packed), f"/boot/initramfs-{version}.img")
    files.write("/boot/grub2/grub.cfg", _MENU.format(look=look, boot=boot, version=version, line=line))
    boot_code, core = grub.bios(folder, 2048, prefix, "configfile $prefix/grub.cfg\n")
    files.handle.pwrite_device("/dev/sda", boot_code, 0)
    files.handle.pwrite_device("/dev/sda1", core, 0)


def _initramfs(chosen: Kernel) -> bytes:
    """What dracut would have made: LVM's program and its libraries, and the drivers of disks and file systems."""
    made = Archive()
    made.add_file("bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
    made.add_file("init", Path(__file__).with_name("storage_initramfs.sh").read_bytes(), 0o755)
    made.add_file("usr/sbin/lvm", _LVM.read_bytes(), 0o755)
    made.add_file("etc/lvm/lvm.conf", _LVM_CONF.encode())
    for library in libraries(_LVM):
        made.add_file(str(library).lstrip("/"), library.resolve().read_bytes(), 0o755)
    order = chosen.load_order(*(name for name in _DRIVERS if chosen.has(name)))
    for module in order:
        made.add_file(f"modules/{module_name(module)}.ko", read_module(module))
    made.add_file("modules/order", "".join(f"{module_name(module)}.ko\n" for module in order).encode())
    return gzip.compress(made.finish(), 1, mtime=0)
