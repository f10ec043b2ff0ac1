"""Run the guest that Windows Setup runs in: started from the media, watched through its restarts, until it powers
off.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.qemu import command as qemu_command
from pipeline.host.qemu import guest
from pipeline.host.qemu.guest import Guest, GuestFailed
from pipeline.host.qemu.hardware import Hardware
from pipeline.host.qemu.qmp import MonitorError
from pipeline.host.system import process
from pipeline.recipes.model.windows import WindowsInstall
from pipeline.steps.step import Context
from pipeline.steps.windows.plan import FAILED

_NAME = "install"
# The media's loader asks for a key before it reads more than itself; from there on it reads boot.wim, hundreds of MiB.
_LOADED = 64 << 20
_KEY_EVERY = 1.0  # seconds
# A good installation restarts some five times; one that rolls back and begins anew never stops.
_MOST_RESTARTS = 20
_PROMPT = "the media's setup program was being loaded"
_FAILURE = re.compile(rf"^{FAILED}: (.*)$", re.MULTILINE)
_STEP = re.compile(r"^build: (.*)$", re.MULTILINE)


class SetupFailed(PipelineError):
    """Setup was started, and did not come to its end; what it wrote to the disk may say why."""


@dataclass
class _Keys:
    """Presses a key now and then, as somebody would who is asked to."""

    running: Guest
    last: float = float("-inf")

    def loaded(self) -> bool:
        """Whether the media's setup program is being loaded; until then, press the key."""
        if _read_from_media(self.running) >= _LOADED:
            return True
        if self.running.seconds - self.last >= _KEY_EVERY:
            self.last = self.running.seconds
            with contextlib.suppress(MonitorError):
                self.running.monitor.execute("send-key", {"keys": [{"type": "qcode", "data": "ret"}]})
        return False


def run(context: Context, install: WindowsInstall, media: Path, answers: Path) -> float:
    """Install onto ``context.disk``; return the seconds it took. Raises ``PipelineError`` that names the cause."""
    size = str(context.recipe.disk.size)
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", context.disk, size])
    machine = _machine(context, install, media, answers)
    with guest.running(machine, context.evidence, _NAME, policy=context.stall_policy) as running:
        try:
            context.progress.say("starting from the media")
            keys = _Keys(running)
            _wait_for_setup(running, keys, install, context)
            context.progress.say("installing Windows")
            return _wait_for_the_end(running, install, context)
        except PipelineError:
            running.write_evidence(context.evidence)
            raise


def _wait_for_setup(running: Guest, keys: _Keys, install: WindowsInstall, context: Context) -> None:
    timeout = float(install.start_timeout)
    try:
        running.wait_until(keys.loaded, timeout, _PROMPT, progress=context.progress)
    except GuestFailed as error:
        if running.is_running() and running.seconds >= timeout:
            raise PipelineError(
                f"the media did not start within {timeout:.0f} s, although a key was pressed every second",
                details=error.details,
                hint="see the screenshot: media for the other firmware (hw_firmware_type), or none that boot",
            ) from error
        raise


def _wait_for_the_end(running: Guest, install: WindowsInstall, context: Context) -> float:
    try:
        return _watch(running, install, context)
    except GuestFailed as error:
        if error.diagnosis:
            raise
        raise SetupFailed(
            error.message, details=error.details, hint="see the screenshot: where Setup cannot go on, it shows a window"
        ) from error


def _watch(running: Guest, install: WindowsInstall, context: Context) -> float:
    shown = ""

    def ended() -> bool:
        nonlocal shown
        text = running.console.text
        failure = _FAILURE.search(text)
        if failure:
            raise PipelineError(
                f"the build inside Windows failed: {failure[1].strip()}",
                details=running.console.tail(),
                hint="the log of what was done before is above and in the serial log",
            )
        begun = [line.strip() for line in _STEP.findall(text)]
        if begun and begun[-1] != shown:
            shown = begun[-1]
            context.progress.say(f"inside Windows: {shown}")
        if sum(event.name == "RESET" for event in running.monitor.events) > _MOST_RESTARTS:
            raise SetupFailed(
                f"Windows restarted more than {_MOST_RESTARTS} times",
                details=running.console.tail(),
                hint="Setup rolls back what it did and begins anew; see the screenshot",
            )
        return _powered_off(running)

    what = "Windows powered itself off"
    return running.wait_until(ended, float(install.timeout), what, progress=context.progress)


def _powered_off(running: Guest) -> bool:
    event = running.monitor.find_event(("SHUTDOWN",))
    return not running.is_running() and event is not None and event.data.get("reason") == "guest-shutdown"


def _read_from_media(running: Guest) -> int:
    try:
        answers = running.monitor.execute("query-blockstats")
    except MonitorError:
        return 0
    return sum(int(each["stats"]["rd_bytes"]) for each in answers if each.get("node-name") == "cdrom0")


def _machine(context: Context, install: WindowsInstall, media: Path, answers: Path) -> qemu_command.Machine:
    hardware = Hardware.from_properties(context.recipe.image_properties)
    return qemu_command.Machine(
        name=f"{context.recipe.name}-install",
        accelerator=context.accelerator,
        # Setup has drivers of its own for these controllers only.
        hardware=replace(hardware, cdrom_bus="sata" if hardware.machine == "q35" else "ide"),
        memory=install.memory,
        vcpus=install.vcpus,
        disks=[qemu_command.GuestDisk(context.disk, "qcow2")],
        cdroms=[qemu_command.GuestDisk(path, "raw", read_only=True) for path in (media, answers)],
        # From the start: an empty disk before them would be told as nothing to boot. Later the media's question for a
        # key goes unanswered, and the firmware goes on to the disk.
        boot_cdrom=True,
        network=qemu_command.GuestNetwork(),
    )
