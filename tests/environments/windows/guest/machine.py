"""What the stand-in knows of its machine: firmware, disk, media, keyboard, and how to show that it waits."""

from __future__ import annotations

import os
import re
import select
import subprocess
import termios
import time
import tty
from pathlib import Path
from typing import NoReturn

MEDIA_PROMPT = "Press any key to boot from CD or DVD....."
WINDOWS = Path("/mnt/c")
_LETTERS = "DEFGHI"


def serial(text: str) -> None:
    """Say something on COM1."""
    with open("/dev/ttyS0", "w") as port:
        port.write(f"{text}\r\n")


def window(text: str) -> NoReturn:
    """What the real Setup shows before it waits for somebody who never comes."""
    print(f"Windows Setup: {text}", flush=True)
    while True:
        time.sleep(60)


def run(*words: str | Path, stdin: bytes | None = None) -> str:
    """Run a program of Linux; its failure is a window like any other."""
    finished = subprocess.run(words, input=stdin, capture_output=True)
    if finished.returncode:
        window(f"{words[0]} failed: {finished.stdout.decode()} {finished.stderr.decode()}")
    return finished.stdout.decode()


def uefi() -> bool:
    """Whether the firmware is UEFI."""
    return Path("/sys/firmware/efi").exists()


def disk() -> tuple[str, str]:
    """The first disk and its bus; empty without one."""
    for name in sorted(os.listdir("/sys/block")):
        if name.startswith("vd"):
            return f"/dev/{name}", "virtio"
        if name.startswith("sd"):
            return f"/dev/{name}", "scsi" if "/virtio" in os.path.realpath(f"/sys/block/{name}/device") else "ata"
    return "", ""


def discs() -> dict[str, Path]:
    """Drive letters and where their media are mounted."""
    found = {}
    names = sorted(name for name in os.listdir("/sys/block") if name.startswith("sr"))
    for letter, name in zip(_LETTERS, names, strict=False):
        location = Path(f"/mnt/{letter}")
        location.mkdir(parents=True, exist_ok=True)
        for kind in ("udf", "iso9660"):
            words = ["mount", "-t", kind, "-o", "ro", f"/dev/{name}", str(location)]
            if subprocess.run(words, capture_output=True).returncode == 0:
                found[letter] = location
                break
    return found


def bootable(device: str) -> bool:
    """Whether a firmware would start from the disk."""
    with open(device, "rb") as file:
        sector = file.read(512)
    if sector[510:] != b"\x55\xaa":
        return False
    return uefi() or any(sector[446 + 16 * number] == 0x80 for number in range(4))


def key_pressed(seconds: float) -> bool:
    """Ask for a key as Microsoft's loader does."""
    print(MEDIA_PROMPT, flush=True)
    with open("/dev/tty1", "rb", buffering=0) as keyboard:
        before = termios.tcgetattr(keyboard)
        tty.setcbreak(keyboard.fileno())
        termios.tcflush(keyboard, termios.TCIFLUSH)
        try:
            ready, _, _ = select.select([keyboard], [], [], seconds)
        finally:
            termios.tcsetattr(keyboard, termios.TCSANOW, before)
    return bool(ready)


def inside(media: Path, path: str) -> Path | None:
    """A file or folder by a path of Windows, without regard to case; ``None`` without it."""
    location = media
    for part in re.split(r"[\\/]", path):
        names = list(location.iterdir()) if location.is_dir() else []
        found = next((each for each in names if each.name.lower() == part.lower()), None)
        if found is None:
            return None
        location = found
    return location


def asked_for(failure: str) -> bool:
    """Whether media of a test ask for a failure, by a file of that name."""
    return any(inside(location, f"sources/{failure}") for location in Path("/mnt").iterdir())


def mount_windows(target: str | None = None) -> None:
    """Mount the partition with Windows, or the new one that ``target`` names."""
    WINDOWS.mkdir(parents=True, exist_ok=True)
    device, _ = disk()
    known = (f"/dev/{name}" for name in sorted(os.listdir("/dev"), reverse=True))
    for each in [target] if target else [name for name in known if name.startswith(device) and name[-1].isdigit()]:
        if subprocess.run(["ntfs-3g", each, WINDOWS], capture_output=True).returncode == 0:
            if target or (WINDOWS / "Windows").is_dir():
                return
            subprocess.run(["umount", WINDOWS])
    window("no Windows on the disk")


def leave(how: str) -> NoReturn:
    """``reboot`` or ``poweroff``."""
    serial(f"stand-in: {how}")
    os.sync()
    subprocess.run(["umount", WINDOWS], capture_output=True)
    os.sync()
    subprocess.run([how, "-f"])
    window("shutting down")
