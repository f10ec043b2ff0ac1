"""The first start, from the media: what Windows PE does with the answer file."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import NoReturn

from tests.environments.windows.guest.answers import WCM, Answers, facts
from tests.environments.windows.guest.machine import (
    WINDOWS,
    asked_for,
    disk,
    inside,
    leave,
    mount_windows,
    run,
    uefi,
    window,
)
from tests.environments.windows.guest.registry import Software

STATE = r"Microsoft\Windows\CurrentVersion\Setup\State"
_PASS, _SETUP = "windowsPE", "Microsoft-Windows-Setup"
_CORE, _DRIVERS = "Microsoft-Windows-International-Core-WinPE", "Microsoft-Windows-PnpCustomizationsWinPE"
_DISK = "DiskConfiguration/Disk"
_IMAGE = "ImageInstall/OSImage"
_GPT = {
    "EFI": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "MSR": "E3C9E316-0B5C-4DB8-817D-F92DF00215AE",
    "Primary": "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
}
_CORRUPT = "2024-05-06 07:08:09, Error      [0x060389] IBS    the component store is corrupt\r\n"
_MBR = {"Primary": "7"}


def install(media: dict[str, Path]) -> NoReturn:
    """Lay Windows down as the answer file says, and restart."""
    source = next(location for location in media.values() if inside(location, "sources/install.wim"))
    _load(source / "sources" / "boot.wim")
    found = next((file for location in media.values() if (file := inside(location, "autounattend.xml"))), None)
    if found is None:
        window("Select the language to install")
    answers = Answers(found)
    _check_language(answers, source)
    device = _find_disk(answers, media)
    partition = _partition(answers, device)
    if answers.text(_PASS, _SETUP, "UserData/AcceptEula") != "true":
        window("Please read the license terms")
    target = f"{device}{partition}"
    _apply(answers, source / "sources" / "install.wim", partition, target)
    _make_bootable(device, source)
    mount_windows(target)
    panther = WINDOWS / "Windows/Panther"
    panther.mkdir(parents=True, exist_ok=True)
    shutil.copy(found, panther / "unattend.xml")
    with Software() as software:
        software.set(STATE, "ImageState", "IMAGE_STATE_UNDEPLOYABLE")
    if asked_for("setup-fails"):
        (panther / "setuperr.log").write_bytes(_CORRUPT.encode("utf-16"))
        run("umount", WINDOWS)
        window("Windows could not complete the installation")
    leave("reboot")


def _load(file: Path) -> None:
    """The loader reads all of boot.wim."""
    with file.open("rb") as opened:
        while opened.read(1 << 20):
            pass


def _check_language(answers: Answers, source: Path) -> None:
    languages = re.findall(r"^(\S+) = ", (source / "sources" / "lang.ini").read_text(), re.MULTILINE)
    for field in ("SetupUILanguage/UILanguage", "UILanguage"):
        wanted = answers.text(_PASS, _CORE, field)
        if wanted not in languages:
            window(f"the language {wanted} is not on the media")


def _find_disk(answers: Answers, media: dict[str, Path]) -> str:
    """The disk, if the answer file brings along the driver for its bus."""
    device, bus = disk()
    needed = {"virtio": "viostor", "scsi": "vioscsi"}.get(bus)
    entries = answers.all(_PASS, _DRIVERS, "DriverPaths/PathAndCredentials")
    keys = [each.get(f"{WCM}keyValue") for each in entries]
    if len(set(keys)) != len(keys) or None in keys:
        window("the answer file repeats a key of DriverPaths")
    loaded = set()
    for entry in entries:
        letter, _, folder = facts(entry)["Path"].partition(":\\")
        location = inside(media[letter], folder) if letter in media else None
        loaded |= {file.stem.lower() for file in location.glob("*.inf")} if location else set()
    if not device or (needed and needed not in loaded):
        window("Where do you want to install Windows? We couldn't find any drives.")
    return device


def _partition(answers: Answers, device: str) -> int:
    """Partitions and file systems as they are asked for; the number of the one for Windows."""
    if answers.text(_PASS, _SETUP, f"{_DISK}/WillWipeDisk") != "true":
        window("the disk is not to be wiped")
    types = _GPT if uefi() else _MBR
    created = [facts(each) for each in answers.all(_PASS, _SETUP, f"{_DISK}/CreatePartitions/CreatePartition")]
    modified = [facts(each) for each in answers.all(_PASS, _SETUP, f"{_DISK}/ModifyPartitions/ModifyPartition")]
    formats = {each["PartitionID"]: each for each in modified}
    script = f"label: {'gpt' if uefi() else 'dos'}\n"
    for number, each in enumerate(created, 1):
        if each["Order"] != str(number) or each["Type"] not in types:
            window(f"the partition {each} cannot be made with this firmware")
        size = "" if each.get("Extend") == "true" else f"size={each['Size']}MiB, "
        active = ", bootable" if formats.get(str(number), {}).get("Active") == "true" else ""
        script += f"{size}type={types[each['Type']]}{active}\n"
    run("sfdisk", "--quiet", device, stdin=script.encode())
    time.sleep(1)
    run("mdev", "-s")
    for partition, each in formats.items():
        make = {"NTFS": ["mkntfs", "-Q", "-q"], "FAT32": ["mkfs.fat"]}.get(each.get("Format", ""))
        if make:
            run(*make, f"{device}{partition}")
    chosen = [partition for partition, each in formats.items() if each.get("Letter") == "C"]
    active_ones = [each for each in formats.values() if each.get("Active") == "true"]
    if len(chosen) != 1 or not (uefi() or active_ones):
        window("there is no partition for Windows, or none to boot from")
    return int(chosen[0])


def _apply(answers: Answers, wim: Path, partition: int, target: str) -> None:
    key = answers.text(_PASS, _SETUP, f"{_IMAGE}/InstallFrom/MetaData/Key")
    name = answers.text(_PASS, _SETUP, f"{_IMAGE}/InstallFrom/MetaData/Value")
    names = re.findall(r"^Name: +(.*)$", run("wimlib-imagex", "info", wim), re.MULTILINE)
    if key != "/IMAGE/NAME" or name not in names:
        window(f"Select the operating system you want to install (there is no {name})")
    where = {field: answers.text(_PASS, _SETUP, f"{_IMAGE}/InstallTo/{field}") for field in ("DiskID", "PartitionID")}
    if where != {"DiskID": "0", "PartitionID": str(partition)}:
        window(f"Windows cannot be installed to {where}")
    run("wimlib-imagex", "apply", wim, name, target)


def _make_bootable(device: str, source: Path) -> None:
    """What bcdboot does: the loader goes onto the first partition, for BIOS also into the disk's first sectors."""
    system = Path("/mnt/system")
    system.mkdir(exist_ok=True)
    run(*(["mount", "-t", "vfat"] if uefi() else ["ntfs-3g"]), f"{device}1", system)
    for name in ("vmlinuz", "initrd.gz"):
        shutil.copyfile(source / name, system / name)
    if uefi():
        for path in ("EFI/BOOT/BOOTX64.EFI", "loader/loader.conf", "loader/entries/setup.conf"):
            (system / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / "efi" / Path(path).name.lower(), system / path)
    run("umount", system)
    if not uefi():
        with open(device, "r+b", buffering=0) as disk_file:
            code, core = ((source / "bios" / name).read_bytes() for name in ("boot.img", "core.img"))
            partitions = disk_file.read(512)[440:]
            disk_file.seek(0)
            disk_file.write(code[:440] + partitions + core + b"\0" * (-len(core) % 512))
