"""GRUB for BIOS and GPT, as grub-install would write it to a disk; grub-bios-setup(8) would need devices."""

from __future__ import annotations

import struct
from pathlib import Path

from pipeline.host.system import process

_FILES = Path("/usr/lib/grub/i386-pc")
_MODULES = (
    "biosdisk part_gpt ext2 xfs btrfs lvm search search_fs_file search_fs_uuid configfile normal linux serial terminal "
    "test echo"
).split()


def bios(folder: Path, sector: int, prefix: str, start: str) -> tuple[bytes, bytes]:
    """GRUB's first sector without its partition table, and the rest, which is to lie at ``sector``.

    ``prefix`` is where it believes its files to be, ``start`` what it does first. What is written is in GRUB's
    include/grub/i386/pc/boot.h.
    """
    early, core = folder / "grub-start.cfg", folder / "grub-core.img"
    early.write_text(start)
    process.run(["grub-mkimage", "-O", "i386-pc", "-p", prefix, "-c", early, "-o", core, *_MODULES])
    boot, rest = bytearray((_FILES / "boot.img").read_bytes()[:440]), bytearray(core.read_bytes())
    boot[0x5C:0x64] = struct.pack("<Q", sector)
    boot[0x66:0x68] = b"\x90\x90"  # trust the BIOS's drive
    # The only entry of the list of blocks at the end of the first sector; the length stands behind it.
    rest[500:508] = struct.pack("<Q", sector + 1)
    return bytes(boot), bytes(rest)
