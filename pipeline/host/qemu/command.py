"""Build QEMU's command line for one guest.

Every file the guest uses is opened by us and handed over as a descriptor (QEMU's fd sets): the hypervisor needs no
right to reach any path, and a disk given as read-only cannot be written whatever happens inside.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.host.qemu import firmware
from pipeline.host.qemu.accelerator import Accelerator, emulator
from pipeline.host.qemu.hardware import Hardware

# OpenStack's names of formats where QEMU's differ.
_DRIVERS = {"vhd": "vpc", "iso": "raw"}


@dataclass(frozen=True)
class GuestDisk:
    """A disk or CD-ROM of the guest: a file in a format, never guessed.

    ``base``: the read-only disk this one is an overlay of, whatever its header says.
    """

    path: Path
    format: str
    read_only: bool = False
    base: GuestDisk | None = None


@dataclass(frozen=True)
class GuestNetwork:
    """User-mode networking: DHCP from QEMU itself; ``restricted`` guests reach nothing outside.

    ``forwards``: port on 127.0.0.1 of the host → port of the guest.
    """

    restricted: bool = True
    forwards: tuple[tuple[int, int], ...] = ()
    options: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """Return it as options of QEMU."""
        parts = ["user", "id=net0", f"restrict={'on' if self.restricted else 'off'}"]
        parts += [f"hostfwd=tcp:127.0.0.1:{ours}-:{theirs}" for ours, theirs in self.forwards]
        return ["-netdev", ",".join([*parts, *self.options])]


@dataclass(frozen=True)
class DirectBoot:
    """A kernel that QEMU loads itself, for installers."""

    kernel: Path
    initrd: Path
    arguments: str


@dataclass(frozen=True)
class Machine:
    """A guest to start. ``memory`` is in bytes; ``accelerator`` is ``kvm`` or ``tcg``.

    ``boot_cdrom``: whether the firmware tries the CD-ROMs before the disks. ``reboots``: whether a reset restarts the
    guest; otherwise it ends QEMU, as a power-off does.
    """

    name: str
    accelerator: str
    hardware: Hardware = field(default_factory=Hardware)
    memory: int = 256 << 20
    vcpus: int = 1
    disks: Sequence[GuestDisk] = ()
    cdroms: Sequence[GuestDisk] = ()
    boot_cdrom: bool = False
    network: GuestNetwork | None = field(default_factory=GuestNetwork)
    direct: DirectBoot | None = None
    reboots: bool = True


class DiskFiles:
    """The open files a guest is given; ``descriptors`` must be inherited by QEMU, then ``close`` is due."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self.descriptors: list[int] = []
        self.words: list[str] = []

    def open(self, path: Path, flags: int) -> str:
        """Open ``path`` and return the name under which QEMU finds it."""
        try:
            descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise PipelineError(f"{path}: cannot be opened for a guest: {error.strerror}") from None
        return self._give(descriptor)

    def copy_in_memory(self, path: Path) -> str:
        """Give QEMU a writable copy of a small file that vanishes with it."""
        return self._give(_in_memory(path))

    def copy_readable(self, path: Path) -> str:
        """Give QEMU a copy of a small file that it can open by name: its loader of kernels knows no fd sets."""
        descriptor = _in_memory(path)
        self._stack.callback(os.close, descriptor)
        self.descriptors.append(descriptor)
        return f"/proc/self/fd/{descriptor}"

    def _give(self, descriptor: int) -> str:
        self._stack.callback(os.close, descriptor)
        self.descriptors.append(descriptor)
        self.words += ["-add-fd", f"fd={descriptor},set={descriptor}"]
        return f"/dev/fdset/{descriptor}"

    def close(self) -> None:
        """Close our side of them."""
        self._stack.close()


def command(
    machine: Machine, files: DiskFiles, *, serial: Path, firmware_log: Path, monitor: int, mark: str
) -> list[str]:
    """Return the command line that starts ``machine``.

    ``serial`` and ``firmware_log`` receive what guest and BIOS say; ``monitor`` is the descriptor of QEMU's end of a
    connected socket that will speak QMP; ``mark`` names the owner in the process list.
    """
    hardware = machine.hardware
    words = [emulator(), "-name", f"guest={machine.name}.{mark}", "-nodefaults", "-no-user-config", "-display", "none"]
    words += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
    words += ["-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"]
    words += [*_processor(machine), "-m", f"{machine.memory >> 20}M", "-smp", str(machine.vcpus)]
    words += ["-rtc", f"base={'localtime' if hardware.windows else 'utc'},driftfix=slew"]
    words += _board(machine, files)
    words += hardware.controllers()
    for index, disk in enumerate(machine.disks):
        words += [*_drive(f"disk{index}", disk, files), *hardware.disk_device(index)]
    for index, disk in enumerate(machine.cdroms):
        words += [*_drive(f"cdrom{index}", disk, files), *hardware.cdrom_device(index, boot=machine.boot_cdrom)]
    if machine.network is not None:
        words += [*machine.network.words(), *hardware.nic_device("net0")]
    words += ["-chardev", f"file,id=serial0,path={_appended(files, serial)},append=on", "-serial", "chardev:serial0"]
    words += ["-chardev", f"file,id=firmware,path={_appended(files, firmware_log)},append=on"]
    words += ["-device", "isa-debugcon,iobase=0x402,chardev=firmware"]
    if machine.direct is not None:
        words += _direct(machine.direct, files)
    if not machine.reboots:
        words.append("-no-reboot")
    # The descriptors have to be known before the options that use them.
    return [words[0], *files.words, *words[1:]]


@contextlib.contextmanager
def opened_files() -> Iterator[DiskFiles]:
    """Provide ``DiskFiles`` for the time of a start: once QEMU runs, it has descriptors of its own."""
    files = DiskFiles()
    try:
        yield files
    finally:
        files.close()


def _in_memory(path: Path) -> int:
    descriptor = os.memfd_create(path.name, os.MFD_CLOEXEC)
    with path.open("rb") as source, os.fdopen(os.dup(descriptor), "wb") as copy:
        shutil.copyfileobj(source, copy)
    return descriptor


def _processor(machine: Machine) -> list[str]:
    *words, model = Accelerator(machine.accelerator, None, "").qemu_args
    if machine.accelerator == "kvm" and machine.hardware.windows:
        # What Nova turns on for os_type=windows; only KVM knows them.
        model += ",hv_relaxed,hv_vapic,hv_spinlocks=0x1fff,hv_time"
    return [*words, model]


def _board(machine: Machine, files: DiskFiles) -> list[str]:
    hardware = machine.hardware
    options = [hardware.machine, f"hpet={'on' if hardware.hpet else 'off'}", "vmport=off", "usb=off"]
    if hardware.firmware == "bios":
        return ["-machine", ",".join(options)]
    found = firmware.find(hardware.machine, secure_boot=hardware.secure_boot)
    code = files.open(found.code, os.O_RDONLY)
    # The guest writes its variables: it gets a copy that exists in memory only.
    variables = files.copy_in_memory(found.variables)
    words = _blockdev(
        {"node-name": "firmware-code", "driver": found.format, "read-only": True, "file": _file(code, True)}
    )
    words += _blockdev({"node-name": "firmware-variables", "driver": found.format, "file": _file(variables, False)})
    options += ["pflash0=firmware-code", "pflash1=firmware-variables"]
    if found.needs_smm:
        options.append("smm=on")
        words += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
    return [*words, "-machine", ",".join(options)]


def _drive(node: str, disk: GuestDisk, files: DiskFiles) -> list[str]:
    return _blockdev({"node-name": node, **_layer(disk, files)})


def _layer(disk: GuestDisk, files: DiskFiles) -> dict[str, Any]:
    name = files.open(disk.path, os.O_RDONLY if disk.read_only else os.O_RDWR)
    layer: dict[str, Any] = {
        "driver": _DRIVERS.get(disk.format, disk.format),
        "read-only": disk.read_only,
        "file": _file(name, disk.read_only),
    }
    if disk.format == "qcow2":
        # Said even when there is none, so that a name in the image's header is never followed.
        layer["backing"] = None if disk.base is None else _layer(disk.base, files)
    return layer


def _file(name: str, read_only: bool) -> dict[str, Any]:
    # A guest's disk that is lost with the machine needs no flushes.
    return {"driver": "file", "filename": name, "read-only": read_only, "cache": {"no-flush": True}}


def _blockdev(description: dict[str, Any]) -> list[str]:
    return ["-blockdev", json.dumps(description)]


def _appended(files: DiskFiles, path: Path) -> str:
    return files.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def _direct(direct: DirectBoot, files: DiskFiles) -> list[str]:
    kernel, initrd = files.copy_readable(direct.kernel), files.copy_readable(direct.initrd)
    return ["-kernel", kernel, "-initrd", initrd, "-append", direct.arguments]
