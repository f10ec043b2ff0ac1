"""Make what starts the tiny guest: one FAT partition with kernel, initramfs, a loader for BIOS and one for UEFI."""

from __future__ import annotations

import gzip
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.media.file_tree import FileTree
from pipeline.host.media.initramfs import Archive
from pipeline.host.system.kernel import Kernel, module_name, read_module
from pipeline.steps.small_disk import ROOT_LABEL
from pipeline.steps.tiny import system

INITRAMFS_FILES = Path(__file__).parent / "initramfs"
_NEEDED = ("virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "sr_mod", "ext4", "virtio_rng")
# Where the kernel has them: the other disk buses a cloud may give.
_WELCOME = ("ata_piix", "ahci", "usb_storage", "xhci_pci", "nvme")
_UEFI_LOADER = Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")


def build(kernel: Kernel, arguments: tuple[str, ...]) -> FileTree:
    """Return the contents of the boot partition. ``arguments`` go behind the console settings of the kernel's command
    line.
    """
    made = tree(kernel, arguments)
    made.add_file("/initrd.gz", gzip.compress(archive(kernel), 6, mtime=0))
    return made


def tree(kernel: Kernel, arguments: tuple[str, ...]) -> FileTree:
    """See ``build``, without the initramfs, which takes longest."""
    if not _UEFI_LOADER.is_file():
        raise PipelineError(f"{_UEFI_LOADER} is not installed", hint="apt install systemd-boot-efi")
    # The last console is the one /dev/console means. A kernel that checks its timer on a starved processor panics.
    consoles = ("console=tty1", "console=ttyS0,115200")
    line = " ".join((f"root=LABEL={ROOT_LABEL}", "rw", "no_timer_check", *consoles, *arguments))
    made = FileTree()
    made.add_file("/vmlinuz", kernel.vmlinuz)
    made.add_file("/syslinux.cfg", _SYSLINUX.format(line=line).encode())
    made.add_file("/loader/loader.conf", b"default tiny.conf\ntimeout 0\neditor no\n")
    made.add_file("/loader/entries/tiny.conf", _ENTRY.format(line=line).encode())
    made.add_file("/EFI/BOOT/BOOTX64.EFI", _UEFI_LOADER)
    return made


def taken(kernel: Kernel) -> list[Path]:
    """Return the files of this machine that the boot partition is made of."""
    return [kernel.vmlinuz, _UEFI_LOADER, system.BUSYBOX, *kernel.load_order(*_modules(kernel))]


def archive(kernel: Kernel) -> bytes:
    """Return the initial RAM file system: busybox, our scripts, the drivers of disks in the order to load them."""
    made = Archive()
    made.add_file("bin/busybox", system.busybox(), 0o755)
    for file in sorted(INITRAMFS_FILES.iterdir()):
        made.add_file(file.name, file.read_bytes(), 0o755)
    order = kernel.load_order(*_modules(kernel))
    for module in order:
        made.add_file(f"modules/{module_name(module)}.ko", read_module(module))
    made.add_file("modules/order", "".join(f"{module_name(module)}.ko\n" for module in order).encode())
    return made.finish()


def _modules(kernel: Kernel) -> list[str]:
    return [*_NEEDED, *(name for name in _WELCOME if kernel.has(name))]


_SYSLINUX = """SERIAL 0 115200
DEFAULT tiny
PROMPT 0
TIMEOUT 0
LABEL tiny
  LINUX /vmlinuz
  INITRD /initrd.gz
  APPEND {line}
"""
_ENTRY = """title Tiny guest
linux /vmlinuz
initrd /initrd.gz
options {line}
"""
