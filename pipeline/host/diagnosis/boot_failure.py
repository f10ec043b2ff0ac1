"""Diagnose a failed boot or installation: match what the guest said against what guests say when they are lost.

Each signature names the cause and the next action. A fatal one ends the waiting: no guest recovers from it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_CONTROL = re.compile(r"\x1b\[[0-9;?=]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[c78=>]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class FailureSignature:
    """A failure by its words. ``cause`` may use the pattern's named groups."""

    name: str
    pattern: re.Pattern[str]
    cause: str
    action: str
    fatal: bool = True


@dataclass(frozen=True)
class Diagnosis:
    """What went wrong and what to do about it."""

    name: str
    cause: str
    action: str
    fatal: bool


def _signature(name: str, pattern: str, cause: str, action: str, *, fatal: bool = True) -> FailureSignature:
    return FailureSignature(name, re.compile(pattern, re.MULTILINE), cause, action, fatal)


# The first that matches wins: a panic is told by its reason before it is told as a panic.
SIGNATURES: Sequence[FailureSignature] = (
    _signature(
        "post-failed",
        r"BUILD-FAILED \S+ (?P<what>[^\n]*)",
        "the kickstart's script failed in {what}",
        "the lines before it on the serial log say why; the steps are those of the kickstart's %post",
    ),
    _signature(
        "no-such-disk",
        r"[Ss]pecified nonexistent disk (?P<what>\S+)|Disk \"(?P<name>[^\"]+)\" given in \w+ command does not exist",
        "the kickstart names the disk {what}{name}, which the guest does not have",
        "virtio disks are called vda, those on scsi, sata and ide sda: use {{ disk }} in the kickstart",
    ),
    _signature(
        "kickstart-error",
        r"problem occurred on line (?P<line>\d+) of the kickstart file:\s*(?P<what>[^\n]*)",
        "the installer refuses the kickstart: line {line}: {what}",
        "mend that line; lines are those of kickstart.ks in the evidence",
    ),
    _signature(
        "dead-mirror",
        r"(?P<what>(Unable to (retrieve|read) (package )?metadata|Cannot retrieve repository metadata|Error setting up "
        r"(base )?(software source|repository)|Error downloading (package|treeinfo)|Could not resolve host)[^\n]*)",
        "the installer cannot read a repository: {what}",
        "check the repositories of the recipe and the guest's network; ./inv build asks them before it starts a guest",
    ),
    _signature(
        "no-such-package",
        r"You have specified that the (package|group) '(?P<what>[^']+)' should be installed|No match for argument: "
        r"(?P<name>\S+)",
        "the installer finds no package or group {what}{name}",
        "add the repository that has it (install.repositories), or take it out of the kickstart",
    ),
    _signature(
        "installer-crashed",
        r"(?P<what>An unknown error has occurred|[Aa]naconda \S+ exception report|The following error occurred while "
        r"installing[^\n]*)",
        "the installer crashed: {what}",
        "the serial log has its traceback",
    ),
    _signature(
        "prompt",
        r"^\s*\d+\) \[!\] (?P<spoke>[^\n]*)|(?P<what>(Would you like to [^\n?]*\?|Please respond 'yes' or 'no'|"
        r"[Pp]ress \[?(ENTER|Enter|enter|Return)\]?[^\n]*to (continue|exit|quit)|Can't have a question in command line "
        r"mode)[^\n]*)",
        "the installer waits for a person to answer: {spoke}{what}",
        "the kickstart must say it; see what it asks on the serial log and the screenshot",
    ),
    _signature(
        "root-not-found",
        r"VFS: Unable to mount root fs on (?P<what>[^\n]+)|ALERT! +(?P<disk>\S+) does not exist",
        "the kernel found no root file system ({what}{disk})",
        "check root= on the kernel's command line against the disk's labels and UUIDs, and that the initramfs has the "
        "driver of the disk bus in hw_disk_bus",
    ),
    _signature(
        "init-missing",
        r"Kernel panic - not syncing: (?P<what>(No working init|Requested init)[^\n]*)|(?P<init>"
        r"(switch_root|run-init): can't execute [^\n]*|No init found\. Try passing init= bootarg)",
        "the kernel found no program to start ({what}{init})",
        "check that the root file system is the right one and has /sbin/init",
    ),
    _signature(
        "panic",
        r"Kernel panic - not syncing: (?P<what>[^\n]*)",
        "the guest's kernel panicked: {what}",
        "the serial log has what led to it",
    ),
    _signature(
        "dracut-timeout",
        r"dracut-initqueue.*(timeout|Could not boot)|Entering emergency mode\. Exit the shell to continue",
        "the initramfs gave up waiting for the root file system and offers an emergency shell",
        "check root= on the kernel's command line and the drivers in the initramfs (dracut -N, hw_disk_bus)",
    ),
    _signature(
        "maintenance",
        r"Give root password for maintenance|You are in emergency mode|Cannot open access to console",
        "systemd stopped in emergency mode",
        "a file system in /etc/fstab is missing or damaged, or a unit it requires failed; see the serial log",
    ),
    _signature(
        "initramfs-shell",
        r"^\(initramfs\)|Dropping to a shell!|BusyBox .* built-in shell \(ash\)\s*\n.*\n\(initramfs\)",
        "the initramfs stopped at its shell",
        "check root= on the kernel's command line and the drivers in the initramfs",
    ),
    _signature(
        "grub-rescue",
        r"grub rescue>|error: (?P<what>(no such (device|partition)|unknown filesystem|file [^\n]* not found)[^\n]*)",
        "GRUB cannot go on: {what}",
        "install GRUB again after the disk has its final layout, and regenerate its configuration",
    ),
    _signature(
        "loader-kernel",
        r"(?P<what>(Could not find kernel image|Failed to load (ldlinux|COM32)|Loading [^\n]*\.\.\. failed)[^\n]*)",
        "the boot loader did not find what it should load: {what}",
        "check the names in the boot loader's configuration against the files beside it",
    ),
    _signature(
        "firmware-crash",
        r"X64 Exception Type - (?P<what>[^!\n]*)",
        "the UEFI firmware or the loader it started crashed ({what})",
        "with less than 256 MiB that is what happens: raise boot_test.memory (and min_ram); else suspect the loader",
    ),
    _signature(
        "no-bootable-device",
        r"No bootable device\.|No bootable option or device was found|Boot failed: not a bootable disk",
        "the firmware found nothing to boot on the disk",
        "the disk has no boot loader for this firmware: check hw_firmware_type and how the recipe installs its loader",
    ),
    _signature(
        "out-of-memory",
        r"Out of memory: Killed process|Kernel panic.*[Oo]ut of memory|initramfs unpacking failed: write error",
        "the guest ran out of memory",
        "give the boot test more (boot_test.memory), and publish min_ram accordingly",
        fatal=False,
    ),
    _signature(
        "disk-full",
        r"No space left on device",
        "the guest's disk is full",
        "give the recipe a larger disk (disk.size)",
        fatal=False,
    ),
    _signature(
        "filesystem-damage",
        r"EXT4-fs error|XFS [^\n]*(Corruption|Metadata corruption)|UNEXPECTED INCONSISTENCY",
        "the guest found its file system damaged",
        "run the build again; if it stays, check what writes to the disk after the file system was made",
        fatal=False,
    ),
    _signature(
        "no-datasource",
        r"DataSourceNone|no datasource found|No instance datasource found",
        "the guest did not find its seed",
        "check the guest's list of datasources (NoCloud, ConfigDrive) and its driver for the bus in hw_cdrom_bus",
        fatal=False,
    ),
)


def clean(text: str) -> str:
    """Return ``text`` without terminal control sequences, its line ends made plain."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def diagnose(*sources: str) -> Diagnosis | None:
    """Return the first known failure in what the guest said (serial console, firmware), or ``None``."""
    text = "\n".join(clean(source) for source in sources)
    for signature in SIGNATURES:
        match = signature.pattern.search(text)
        if match:
            words = {name: (value or "").strip() for name, value in match.groupdict().items()}
            cause = signature.cause.format_map(words).replace("()", "").strip().rstrip(":")
            return Diagnosis(signature.name, cause, signature.action, signature.fatal)
    return None


def last_words(text: str) -> str | None:
    """Return the last line that says something, shortened."""
    lines = [line.strip() for line in clean(text).splitlines() if line.strip()]
    return lines[-1][:200] if lines else None
