"""Start guests with virt-install through libvirt: the machine of ``guest.running``, with the same watch over it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.base import json_text
from pipeline.host.diagnosis.stall import StallPolicy
from pipeline.host.install.libvirt import Libvirt
from pipeline.host.qemu import command as qemu_command
from pipeline.host.qemu.guest import Guest
from pipeline.host.qemu.qmp import MonitorError, QmpEvent
from pipeline.host.system import process

_EVENT = re.compile(r"^(?P<when>\S+ \S+): event (?P<name>\w+) for domain '[^']*': (?P<data>.*)$", re.MULTILINE)
_STAMP = "%Y-%m-%d %H:%M:%S"


@contextlib.contextmanager
def running(
    machine: qemu_command.Machine,
    libvirt: Libvirt,
    evidence: Path,
    name: str,
    *,
    location: str,
    inject: Sequence[Path],
    arguments: str,
    network: str = "user",
    policy: StallPolicy | None = None,
) -> Iterator[Guest]:
    """Have virt-install start ``machine`` from the installer at ``location`` (its ``--location``), with the files of
    ``inject`` in the installer's RAM disk; nothing of the guest is left behind the block.

    Logs are put into ``evidence`` as by ``guest.running``. Raises ``PipelineError`` with virt-install's own words.
    """
    domain = libvirt.domain(machine.name)
    serial = libvirt.folder / "serial.log"
    shown = evidence / f"{name}-serial.log"
    evidence.mkdir(parents=True, exist_ok=True)
    serial.touch(mode=0o600)
    shown.symlink_to(libvirt.give(serial))
    words = _words(machine, domain, libvirt, serial, network)
    words += ["--location", location, "--extra-args", arguments]
    for file in inject:
        words += ["--initrd-inject", str(file)]
    with contextlib.ExitStack() as stack:
        stack.callback(_keep, serial, shown)
        events_log = stack.enter_context((evidence / f"{name}-events.log").open("wb"))
        watching = ("virsh", "--quiet", "--connect", libvirt.uri, "qemu-monitor-event", "--loop", "--timestamp")
        stack.enter_context(
            process.started(libvirt.words(*watching), log=events_log, env=libvirt.env, cwd=libvirt.folder)
        )
        stack.callback(libvirt.virsh, "undefine", domain, check=False)
        stack.callback(libvirt.virsh, "destroy", domain, check=False)
        libvirt.run(*words, timeout=600)
        child = Domain(domain, libvirt)
        yield Guest(
            machine,
            child,
            DomainMonitor(domain, libvirt, Path(events_log.name)),
            evidence,
            name,
            policy or StallPolicy(),
        )


class Domain:
    """The process of a guest that libvirt has started."""

    def __init__(self, name: str, libvirt: Libvirt) -> None:
        self._name = name
        self._libvirt = libvirt
        try:
            self.pid = int((libvirt.pids / f"{name}.pid").read_text())
        except (OSError, ValueError):
            self.pid = 0  # it has ended already

    def poll(self) -> int | None:
        """Return ``None`` while it runs; what it ended with is not known to us."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return 0
        return 0 if state in "ZX" else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises ``subprocess.TimeoutExpired``."""
        deadline = time.monotonic() + (timeout or 60)
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired([self._name], timeout or 60)
            time.sleep(0.1)
        return status

    def kill(self) -> None:
        """End it by force."""
        self._libvirt.virsh("destroy", self._name, check=False)


class DomainMonitor:
    """A guest's monitor, reached through libvirt."""

    def __init__(self, name: str, libvirt: Libvirt, events: Path) -> None:
        self._name = name
        self._libvirt = libvirt
        self._events = events

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = 60) -> Any:
        """Have QEMU carry out a command; return its answer. Raises ``MonitorError``."""
        asked = json.dumps({"execute": command, **({"arguments": dict(arguments)} if arguments else {})})
        try:
            reply = self._libvirt.virsh("qemu-monitor-command", self._name, asked, timeout=timeout).stdout
            answer = json_text.loads(reply)
        except (process.ProcessFailed, ValueError):
            raise MonitorError(f"QEMU did not answer {command}") from None
        if "return" not in answer:
            raise MonitorError(f"QEMU refused {command}: {answer.get('error', {}).get('desc', '')}")
        return answer["return"]

    @property
    def events(self) -> list[QmpEvent]:
        """What happened so far, oldest first."""
        return [
            QmpEvent(match["name"], _data(match["data"]), _time(match["when"]))
            for match in _EVENT.finditer(self._events.read_text(errors="replace"))
        ]

    def find_event(self, names: Collection[str]) -> QmpEvent | None:
        """Return the newest event of one of these names, if there was one."""
        return next((event for event in reversed(self.events) if event.name in names), None)

    def screenshot(self, target: Path) -> None:
        """Write the guest's screen to ``target`` as PNG. Raises ``MonitorError``."""
        picture = self._libvirt.folder / "screen.png"
        try:
            # By libvirt, which may write where its guests may not.
            self._libvirt.virsh("screenshot", self._name, str(picture))
            shutil.copyfile(picture, target)
        except (process.ProcessFailed, OSError):
            raise MonitorError("libvirt took no picture of the guest's screen") from None

    def power_down(self) -> None:
        """Press the guest's power button (ACPI)."""
        self.execute("system_powerdown")

    def quit(self) -> None:
        """End the guest at once."""
        self._libvirt.virsh("destroy", self._name, check=False)


def _words(machine: qemu_command.Machine, domain: str, libvirt: Libvirt, serial: Path, network: str) -> list[str]:
    """Return the command that describes ``machine``. Nobody is asked or waited for, and no domain stays defined."""
    hardware = machine.hardware
    words = ["virt-install", "--connect", libvirt.uri, "--name", domain, "--noautoconsole", "--wait", "0"]
    words += ["--transient", "--noreboot", "--osinfo", "detect=on,require=off", "--check", "path_in_use=off"]
    words += ["--virt-type", "kvm" if machine.accelerator == "kvm" else "qemu", "--machine", hardware.machine]
    words += ["--memory", str(machine.memory >> 20), "--vcpus", str(machine.vcpus)]
    if hardware.disk_bus == "scsi":
        words += ["--controller", f"type=scsi,model={hardware.scsi_model}"]
    for disk in machine.disks:
        # A disk that is lost with the guest needs no flushes.
        words += ["--disk", f"path={disk.path},format={disk.format},bus={hardware.disk_bus},cache=unsafe"]
    for disk in machine.cdroms:
        words += ["--disk", f"path={disk.path},device=cdrom,bus={hardware.cdrom_bus},readonly=on"]
    words += ["--network", f"{network.replace(':', '=', 1)},model={hardware.vif_model}", "--graphics", "none"]
    words += ["--channel", "none", "--video", "vga" if hardware.has_screen else "none", "--rng", "/dev/urandom"]
    words += ["--serial", f"file,path={serial}"]
    # So that what outlives us can be told from what is not ours.
    return [*words, "--qemu-commandline", f"env=PIPELINE_OWNER={os.environ.get('PIPELINE_OWNER', '')}"]


def _keep(serial: Path, shown: Path) -> None:
    """Put the log itself where a link to it was."""
    with contextlib.suppress(OSError):
        shown.unlink()
        shutil.copyfile(serial, shown)


def _data(text: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json_text.loads(text)
        return dict(found) if isinstance(found, dict) else {}
    return {}


def _time(text: str) -> float:
    with contextlib.suppress(ValueError):
        return time.mktime(time.strptime(text.partition(".")[0], _STAMP))
    return 0.0
