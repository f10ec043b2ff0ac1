"""The appliance: what it says when it cannot work, and that nothing of it is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT
from pipeline.engine.run.step_context import outputs_to
from pipeline.host.guestfs import appliance
from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.system import process
from tests.conftest import OrdinaryUser
from tests.guest.host.qemu.test_guest import is_running, wait_gone

pytestmark = pytest.mark.guest


def test_errors_inside_are_told_and_everything_is_closed(tmp_path: Path, appliance_cache: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    log = (tmp_path / "log").open("wb")
    with (
        pytest.raises(PipelineError, match="libguestfs: mount: mount exited with status"),
        Appliance("tcg", appliance_cache, tmp_path, log).launched([Drive(disk, "raw")]) as handle,
    ):
        pid = handle.get_pid()
        handle.mount("/dev/sda", "/")
    assert wait_gone(pid)
    assert not list((appliance_cache / "launches").iterdir())


def test_a_missing_image_is_told(tmp_path: Path, appliance_cache: Path) -> None:
    log = (tmp_path / "log").open("wb")
    made = Appliance("tcg", appliance_cache, tmp_path, log)
    with (
        pytest.raises(PipelineError, match=r"did not start: .*absent"),
        made.launched([Drive(tmp_path / "absent", "raw")]),
    ):
        pass


def test_a_disk_that_cannot_grow_ends_the_appliance(
    tmp_path: Path, appliance_cache: Path, small_disk: Callable[[int], Path]
) -> None:
    folder = small_disk(8 << 20)
    disk = folder / "disk.qcow2"
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"])
    log = (tmp_path / "log").open("wb")
    with (
        pytest.raises(PipelineError, match=f"no space left on {folder}: the appliance's disk could not grow"),
        Appliance("tcg", appliance_cache, folder, log).launched([Drive(disk, "qcow2")]) as handle,
    ):
        pid = handle.get_pid()
        handle.mkfs("ext2", "/dev/sda")
        handle.mount("/dev/sda", "/")
        handle.fill(1, 32 << 20, "/file")
        handle.sync()
    assert wait_gone(pid)


def test_no_room_for_the_appliance_itself(tmp_path: Path, small_disk: Callable[[int], Path]) -> None:
    folder = small_disk(64 << 20)
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    log = (tmp_path / "log").open("wb")
    words = f"no space left on {folder}: the libguestfs appliance could not be made there"
    with (
        pytest.raises(PipelineError, match=words),
        outputs_to(log),
        Appliance("tcg", folder / "cache", tmp_path, log).launched([Drive(disk, "raw")]),
    ):
        pass


@pytest.mark.parametrize("who", ["caller", "ordinary user"])
def test_sigkill_leaves_no_appliance(who: str, ordinary_user: OrdinaryUser, appliance_cache: Path) -> None:
    prefix = list(ordinary_user.prefix) if who == "ordinary user" else []
    cache = appliance_cache if who == "caller" else ordinary_user.folder / "cache"
    words = [
        *prefix,
        sys.executable,
        "-m",
        "tests.guest.host.guestfs.hold_appliance",
        str(ordinary_user.folder),
        str(cache),
    ]
    environment = {**process.environment(), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= dict.fromkeys(("HOME", "TMPDIR"), str(ordinary_user.folder))
    before = set(Path("/tmp").glob("libguestfs*"))
    with subprocess.Popen(words, cwd=CHECKOUT, stdout=subprocess.PIPE, env=environment) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        try:
            assert is_running(pid)
            holder.kill()
            # libguestfs has a process of its own that watches us, every two seconds.
            assert wait_gone(pid, 15)
        finally:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
    left = {folder for folder in set(Path("/tmp").glob("libguestfs*")) - before if folder.stat().st_uid == os.geteuid()}
    assert not list(ordinary_user.folder.glob("qmp-*"))
    removed = appliance.sweep(cache)
    assert not {folder for folder in left if folder.exists() and not _is_used(folder)}
    if who == "caller" and os.geteuid() == 0:
        assert removed


def _is_used(folder: Path) -> bool:
    return f"{folder}/" in Path("/proc/net/unix").read_text()
