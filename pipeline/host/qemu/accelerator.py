"""Find out whether guests run on the processor itself (KVM) or emulated (TCG), proven by booting one.

That ``/dev/kvm`` exists and opens proves nothing: nested virtualisation may abort or hang at the first instruction
that the outer hypervisor does not know. ``-accel kvm:tcg`` does not fall back either. So a kernel with a busybox of
a megabyte or two is booted, which takes about a second, and does a little work that is timed inside and outside.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.base import atomic, json_text
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.host.media.initramfs import Archive
from pipeline.host.system import kernel, privileges, process

KVM_DEADLINE = 15.0  # seconds; a working KVM boots this guest in less than one
TCG_DEADLINE = 120.0  # seconds; usual are two to five, on a loaded machine more
_QEMU_ARGS = {
    "kvm": ("-accel", "kvm", "-cpu", "host"),
    # Five-level page tables, which `max` has, keep older kernels from booting.
    # Without ERMS and FSRM the guest copies by words: TCG turns each byte of "rep movsb" into a round of its own.
    # Without the last three it does not load, test and set up modules that no emulated processor gains from.
    "tcg": ("-accel", "tcg,thread=multi", "-cpu", "max,la57=off,erms=off,fsrm=off,svm=off,aes=off,pclmulqdq=off"),
}
# Plain integer work, as an installer mostly does; small enough to end within a second or two when emulated.
_WORK = (
    "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; "
    "$b dd if=/dev/zero bs=1024 count=2048 2>/dev/null | $b gzip -9 | $b md5sum"
)
_INIT = f"""#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
read before rest </proc/uptime
({_WORK}) >/dev/null
read after rest </proc/uptime
echo "probe: booted, work from $before to $after"
$b poweroff -f
"""
_BOOTED = re.compile(r"probe: booted, work from ([\d.]+) to ([\d.]+)")


@dataclass(frozen=True)
class Accelerator:
    """How guests run here. ``slowdown``: how many times longer work takes in a guest than outside, or ``None``.

    ``why`` says in a few words why it is this one.
    """

    name: str
    slowdown: float | None
    why: str

    @property
    def qemu_args(self) -> tuple[str, ...]:
        """QEMU's options for it, the processor model included."""
        return _QEMU_ARGS[self.name]

    @property
    def guestfs_settings(self) -> tuple[str, ...]:
        """libguestfs's backend settings for it (guestfs(3), "BACKEND SETTINGS")."""
        return (f"force_{self.name}",)


def emulator() -> str:
    """Return QEMU's program for x86-64 guests. Raises ``PipelineError`` when it is not installed."""
    found = shutil.which("qemu-system-x86_64") or shutil.which("/usr/libexec/qemu-kvm")
    if not found:
        raise PipelineError("QEMU is not installed", hint="install the package qemu-system-x86 (Fedora, EL: qemu-kvm)")
    return found


def probe(home: Home) -> Accelerator:
    """Return the fastest accelerator that works, from the last probe if nothing has changed since (boot, QEMU, user).

    ``PIPELINE_ACCELERATOR`` (``kvm`` or ``tcg``) decides without a probe. Raises ``PipelineError`` when no guest
    boots at all.
    """
    forced = os.environ.get("PIPELINE_ACCELERATOR")
    if forced:
        if forced not in _QEMU_ARGS:
            raise PipelineError(f"PIPELINE_ACCELERATOR={forced}: unknown accelerator", hint="set it to kvm or tcg")
        return Accelerator(forced, None, "PIPELINE_ACCELERATOR says so")
    file = home.root / "accelerator.json"
    circumstances = _circumstances()
    known = _remembered(file, circumstances)
    if known:
        return known
    found = _probe()
    atomic.write_text(file, json.dumps({"circumstances": circumstances, "found": asdict(found)}, indent=2))
    return found


def forget(home: Home) -> None:
    """Have the next probe look again: what worked once may be gone while the machine runs."""
    (home.root / "accelerator.json").unlink(missing_ok=True)


def _circumstances() -> dict[str, str]:
    """Return what a probe's answer depends on."""
    return {
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "qemu": _version(),
        "user": str(os.geteuid()),
        "kvm": str(os.access("/dev/kvm", os.R_OK | os.W_OK)),
    }


@functools.cache
def _version() -> str:
    return process.run([emulator(), "--version"], timeout=60).stdout.splitlines()[0]


def _remembered(file: Path, circumstances: dict[str, str]) -> Accelerator | None:
    try:
        known = json_text.loads(file.read_text())
        found = Accelerator(**known["found"])
        return found if known["circumstances"] == circumstances and found.name in _QEMU_ARGS else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _probe() -> Accelerator:
    if not Path("/dev/kvm").exists():
        why_not_kvm = "there is no /dev/kvm"
    elif not os.access("/dev/kvm", os.R_OK | os.W_OK):
        why_not_kvm = "this user may not open /dev/kvm"
    else:
        try:
            return Accelerator("kvm", _boot("kvm", KVM_DEADLINE), "a guest booted with it")
        except process.ProcessFailed as error:
            why_not_kvm = f"/dev/kvm is there but does not work: {_reason(error)}"
    return Accelerator("tcg", _boot("tcg", TCG_DEADLINE), why_not_kvm)


def _boot(name: str, deadline: float) -> float:
    """Boot the little guest; return its slowdown. Raises ``ProcessFailed``."""
    busybox = _busybox()
    # In memory, and ended with us: however we end, nothing is left behind.
    with os.fdopen(os.memfd_create("initramfs"), "wb") as initramfs:
        initramfs.write(_guest(busybox))
        initramfs.flush()
        command = [
            *("prlimit", "--core=0", emulator(), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-machine", "pc", *_QEMU_ARGS[name], "-m", "256"),
            *("-kernel", str(kernel.newest().vmlinuz), "-initrd", f"/dev/fd/{initramfs.fileno()}"),
            *("-append", "console=ttyS0 quiet panic=-1", "-serial", "stdio"),
        ]
        confined = privileges.confined(command, user=None)
        output = process.run(confined, timeout=deadline, pass_fds=[initramfs.fileno()]).stdout
    booted = _BOOTED.search(output)
    if not booted:
        raise process.ProcessFailed(command, "ended before its guest was up", output)
    inside = float(booted[2]) - float(booted[1])
    return round(max(1.0, inside / _time_outside(busybox)), 1)


def _guest(busybox: Path) -> bytes:
    archive = Archive()
    archive.add_file("bin/busybox", busybox.read_bytes(), 0o755)
    archive.add_file("init", _INIT.encode(), 0o755)
    for folder in ("proc", "dev"):
        archive.add_folder(folder)
    return archive.finish()


def _time_outside(busybox: Path) -> float:
    # Its own shell and tools, as in the guest, not the host's.
    start = time.perf_counter()
    process.run([busybox, "sh", "-c", _WORK], env={"b": str(busybox)})
    return time.perf_counter() - start


def _busybox() -> Path:
    for location in ("/bin/busybox", "/usr/bin/busybox", "/sbin/busybox", "/usr/sbin/busybox"):
        if Path(location).is_file():
            return Path(location)
    raise PipelineError("busybox is not installed", hint="install the package busybox-static (Fedora, EL: busybox)")


def _reason(error: process.ProcessFailed) -> str:
    """Return what QEMU complained of first; what follows (assertions, core dumps) only comes of it."""
    errors = [line.partition("error: ")[2] for line in error.details[1:] if "error: " in line]
    return errors[0].strip() if errors else error.message
