"""A guest's process: confined, silent failures, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT
from pipeline.host.qemu import command as qemu_command
from pipeline.host.qemu import guest
from pipeline.host.qemu.hardware import Hardware
from pipeline.host.system import process
from tests.conftest import OrdinaryUser

pytestmark = pytest.mark.guest

LOOP = b"\xeb\xfe".ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20)


@pytest.fixture
def looping(tmp_path: Path) -> qemu_command.Machine:
    """A guest that boots, does nothing for ever, and ignores its power button."""
    disk = tmp_path / "loop.raw"
    disk.write_bytes(LOOP)
    return qemu_command.Machine(
        "loop", "tcg", Hardware(video_model="vga"), disks=[qemu_command.GuestDisk(disk, "raw", read_only=True)]
    )


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_gone(pid: int, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_running(pid)


def test_a_guest_has_no_rights_and_no_paths(looping: qemu_command.Machine, tmp_path: Path) -> None:
    with guest.running(looping, tmp_path) as running:
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{running.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        words = Path(f"/proc/{running.pid}/cmdline").read_bytes().decode().split("\0")
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"
        assert int(status["CapEff"], 16) == 0
        if os.geteuid() == 0:
            uids = {int(number) for number in status["Uid"].split()}
            assert uids.isdisjoint({0})
            assert not status["Groups"].strip()
        assert not any(str(tmp_path) in word for word in words)
        assert running.is_running()
    assert wait_gone(running.pid)


def test_a_guest_that_ignores_its_power_button_is_ended_and_told(looping: qemu_command.Machine, tmp_path: Path) -> None:
    with guest.running(looping, tmp_path) as running:
        assert running.screenshot(tmp_path / "screen.png")
        assert running.power_off(2) is False
        assert [event.name for event in running.monitor.events] == ["POWERDOWN", "SHUTDOWN"]
        assert not running.is_running()
    assert (tmp_path / "screen.png").read_bytes().startswith(b"\x89PNG")


def test_waiting_in_vain_tells_what_is_known(looping: qemu_command.Machine, tmp_path: Path) -> None:
    with guest.running(looping, tmp_path) as running, pytest.raises(guest.GuestFailed) as caught:
        running.wait_for_text("hello", 4, "the greeting")
    assert caught.value.message == "the greeting did not happen within 4 s: it never said anything on its serial line"
    assert "ttyS0" in str(caught.value.hint)


def test_a_disk_without_a_loader_is_told_before_the_deadline(tmp_path: Path) -> None:
    disk = tmp_path / "empty.raw"
    disk.write_bytes(bytes(1 << 20))
    machine = qemu_command.Machine("empty", "tcg", disks=[qemu_command.GuestDisk(disk, "raw", read_only=True)])
    with guest.running(machine, tmp_path) as running, pytest.raises(guest.GuestFailed) as caught:
        running.wait_for_text("hello", 120, "the greeting")
    assert caught.value.diagnosis == "no-bootable-device"
    assert " within " not in caught.value.message
    assert "hw_firmware_type" in str(caught.value.hint)


def test_a_killed_hypervisor_is_told(looping: qemu_command.Machine, tmp_path: Path) -> None:
    with guest.running(looping, tmp_path) as running:
        os.kill(running.pid, signal.SIGKILL)
        with pytest.raises(guest.GuestFailed, match="the guest ended before the greeting"):
            running.wait_for_text("hello", 60, "the greeting")


def test_what_qemu_says_when_it_does_not_start_is_told(looping: qemu_command.Machine, tmp_path: Path) -> None:
    broken = qemu_command.Machine(
        "broken", "tcg", disks=[qemu_command.GuestDisk(tmp_path / "loop.raw", "qcow2", read_only=True)]
    )
    with pytest.raises(PipelineError) as caught, guest.running(broken, tmp_path):
        pass
    assert caught.value.message == "QEMU did not start"
    assert "not in qcow2 format" in str(caught.value)


def _hold(prefix: list[str], folder: Path) -> subprocess.Popen[bytes]:
    words = [*prefix, sys.executable, "-m", "tests.guest.host.qemu.hold_guest", str(folder)]
    environment = {**process.environment(), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder)}
    return subprocess.Popen(words, cwd=CHECKOUT, stdout=subprocess.PIPE, env=environment)


@pytest.mark.parametrize("who", ["caller", "ordinary user"])
def test_sigkill_of_the_pipeline_leaves_no_guest(who: str, ordinary_user: OrdinaryUser) -> None:
    prefix = list(ordinary_user.prefix) if who == "ordinary user" else []
    with _hold(prefix, ordinary_user.folder) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        try:
            assert is_running(pid)
            holder.kill()
            assert wait_gone(pid)
        finally:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
