"""Run a guest while a block does: start it, watch it, end it.

Whatever happens to us, no guest stays: it ends with the block, and by the kernel's hand when the pipeline is killed.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from pipeline.base.errors import PipelineError
from pipeline.base.owner import Owner
from pipeline.base.progress import Progress, nothing
from pipeline.host.diagnosis import boot_failure
from pipeline.host.diagnosis.boot_phases import phase
from pipeline.host.diagnosis.stall import StallPolicy, StallWatch
from pipeline.host.qemu import command as qemu_command
from pipeline.host.qemu import disk_full
from pipeline.host.qemu.console import Console
from pipeline.host.qemu.metrics import GuestMetrics
from pipeline.host.qemu.qmp import GuestMonitor, MonitorError, QmpMonitor
from pipeline.host.system import privileges, process

# How long a lost guest may go on talking, so that the log has what followed.
_GRACE = 3.0
_BREAK = 0.1  # seconds between two looks


class GuestFailed(PipelineError):
    """A guest that did not do what was waited for. ``diagnosis`` names the failure if it is a known one."""

    def __init__(self, message: str, *, hint: str | None = None, details: list[str], diagnosis: str | None) -> None:
        super().__init__(message, hint=hint, details=details)
        self.diagnosis = diagnosis


class Child(Protocol):
    """The process that is the guest, whoever started it."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def poll(self) -> int | None:
        """Return ``None`` while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises ``subprocess.TimeoutExpired``."""

    def kill(self) -> None:
        """End it by force."""


class Guest:
    """A running guest."""

    def __init__(
        self,
        machine: qemu_command.Machine,
        child: Child,
        monitor: GuestMonitor,
        folder: Path,
        name: str,
        policy: StallPolicy,
    ) -> None:
        self.name = name
        self.machine = machine
        self.watch = StallWatch(policy)
        self.monitor = monitor
        self.console = Console(folder / f"{name}-serial.log")
        self.firmware = Console(folder / f"{name}-firmware.log")
        self._child = child
        self._started = time.monotonic()
        self._vitals = GuestMetrics(self, has_screen=machine.hardware.has_screen)

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._child.pid

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._started

    def is_running(self) -> bool:
        """Return whether QEMU still runs."""
        return self._child.poll() is None

    def wait_until(
        self, reached: Callable[[], bool], timeout: float, what: str, *, progress: Progress = nothing
    ) -> float:
        """Wait until ``reached``; return the seconds since the guest's start.

        Raises ``GuestFailed`` as soon as that can't happen any more: the guest ended, panicked, found nothing to
        boot, is stuck; or when ``timeout`` seconds have passed since the start.
        """
        lost_since: float | None = None
        while True:
            if self._poll() and lost_since is None and self._is_lost():
                lost_since = time.monotonic()
            if reached():
                return self.seconds
            if not self.is_running() or self.monitor.find_event(("GUEST_PANICKED",)):
                raise self.failure(f"the guest ended before {what}")
            if disk_full.is_stopped(self.monitor):
                raise disk_full.disk_full_error(
                    self.machine.disks[0].path, f"the guest's disk could not grow before {what}"
                )
            if lost_since is not None and time.monotonic() - lost_since > _GRACE:
                raise self.failure(f"the guest failed before {what}")
            if (stuck := self._stuck()) is not None:
                raise self.failure(f"the guest is stuck before {what} ({stuck})")
            if self.seconds > timeout:
                raise self.failure(f"{what} did not happen within {timeout:.0f} s")
            progress.advance(int(self.seconds), int(timeout), "s")
            time.sleep(_BREAK)

    def wait_for_text(self, text: str, timeout: float, what: str, *, progress: Progress = nothing) -> float:
        """Wait until the guest says ``text`` on its serial line. As ``wait_until``."""
        return self.wait_until(lambda: text in self.console.text, timeout, what, progress=progress)

    def power_off(self, timeout: float) -> bool:
        """Press the power button and wait until the guest has gone; end it by force otherwise.

        Returns whether the guest itself powered off (a SHUTDOWN event of reason ``guest-shutdown``) within ``timeout``.
        """
        event = None
        with contextlib.suppress(MonitorError):
            self.monitor.power_down()
            deadline = time.monotonic() + timeout
            while (event := self.monitor.find_event(("SHUTDOWN",))) is None and time.monotonic() < deadline:
                time.sleep(_BREAK)
        self._poll()
        self.end()
        return event is not None and event.data.get("reason") == "guest-shutdown"

    def end(self) -> None:
        """End the guest now, by its monitor if that answers."""
        if self.is_running():
            self.monitor.quit()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(5)
        if self.is_running():
            self._child.kill()
            self._child.wait()

    def screenshot(self, target: Path) -> bool:
        """Take a picture of the screen, if the guest has one and still runs; whether there is one now."""
        if not self.machine.hardware.has_screen or not self.is_running():
            return False
        try:
            self.monitor.screenshot(target)
        except MonitorError:
            return False
        return True

    def write_evidence(self, folder: Path) -> None:
        """Leave all that is known of a guest that failed: its screen, its phase, what moved when, its last events."""
        self.screenshot(folder / f"{self.name}-screen.png")
        diagnosis = boot_failure.diagnose(self.console.text, self.firmware.text)
        known = {
            "phase": phase(self.console.text),
            "diagnosis": asdict(diagnosis) if diagnosis else None,
            "seconds": round(self.seconds, 1),
            "signals": self.watch.as_dict(),
            "serial": self.console.tail(),
            "events": [{"time": each.time, "name": each.name, "data": each.data} for each in self.monitor.events],
        }
        (folder / f"{self.name}-triage.json").write_text(json.dumps(known, indent=1))

    def failure(self, message: str) -> GuestFailed:
        """Return the error for what was waited for in vain: with the cause if it is known, and the
        guest's last words.
        """
        self._poll()
        reached = phase(self.console.text)
        message = f"{message}, in the phase {reached!r}" if reached else message
        diagnosis = boot_failure.diagnose(self.console.text, self.firmware.text)
        if diagnosis is not None:
            text = f"{message}: {diagnosis.cause}"
            return GuestFailed(text, hint=diagnosis.action, details=self.console.tail(), diagnosis=diagnosis.name)
        last = boot_failure.last_words(self.console.text)
        stuck = (
            f"it has been silent for {self.console.silence:.0f} s, its last words were: {last}"
            if last
            else "it never said anything on its serial line"
        )
        return GuestFailed(
            f"{message}: {stuck}",
            hint=f"see {self.console.path} and the screenshot beside it; is the kernel's console on ttyS0?",
            details=self.console.tail(),
            diagnosis=None,
        )

    def _poll(self) -> bool:
        """Take in what the guest says; whether there was anything new."""
        return any([self.console.poll(), self.firmware.poll()])

    def _stuck(self) -> str | None:
        if self._vitals.due():
            self.watch.note(self._vitals.sample(self.console.size), self.console.take())
        return self.watch.stalled()

    def _is_lost(self) -> bool:
        diagnosis = boot_failure.diagnose(self.console.text, self.firmware.text)
        return diagnosis is not None and diagnosis.fatal


@contextlib.contextmanager
def running(
    machine: qemu_command.Machine, folder: Path, name: str = "guest", *, policy: StallPolicy | None = None
) -> Iterator[Guest]:
    """Start ``machine``; its logs are ``NAME-serial.log``, ``NAME-firmware.log`` and ``NAME-qemu.log`` in ``folder``.
    ``policy`` says how long nothing in it may move.

    Raises ``PipelineError`` with QEMU's own words when it doesn't start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log_path = folder / f"{name}-qemu.log"
    with contextlib.ExitStack() as stack:
        ours, theirs = socket.socketpair()
        stack.callback(ours.close)
        stack.callback(theirs.close)
        files = stack.enter_context(qemu_command.opened_files())
        words = qemu_command.command(
            machine,
            files,
            serial=folder / f"{name}-serial.log",
            firmware_log=folder / f"{name}-firmware.log",
            monitor=theirs.fileno(),
            mark=Owner.current().mark,
        )
        groups = privileges.groups_for(machine.accelerator)
        confined = privileges.confined(words, user=privileges.throwaway_user(), groups=groups)
        log = stack.enter_context(log_path.open("ab"))
        passed = [theirs.fileno(), *files.descriptors]
        child = stack.enter_context(process.started(confined, log=log, pass_fds=passed))
        theirs.close()
        files.close()
        try:
            monitor = QmpMonitor(ours, machine.name)
        except MonitorError:
            raise _not_started(child, log_path) from None
        stack.callback(monitor.close)
        yield Guest(machine, child, monitor, folder, name, policy or StallPolicy())


def _not_started(child: subprocess.Popen[bytes], log: Path) -> PipelineError:
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(2)
    lines = log.read_text(errors="replace").strip().splitlines()[-5:]
    hint = "install the package qemu-system-x86" if child.poll() == 127 else None
    return PipelineError("QEMU did not start", hint=hint, details=lines or ["it said nothing"])
