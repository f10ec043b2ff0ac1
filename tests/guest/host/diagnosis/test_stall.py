"""A guest that is stuck, and one that works: told apart by what moves."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.diagnosis.stall import StallPolicy
from pipeline.host.media import iso
from pipeline.host.qemu import command as qemu_command
from pipeline.host.qemu import guest
from pipeline.host.qemu.hardware import Hardware
from pipeline.host.qemu.metrics import GuestMetrics
from pipeline.host.system import process

pytestmark = pytest.mark.guest

LOOP = b"\xeb\xfe".ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20)


def test_a_guest_that_does_nothing_is_stuck_and_leaves_its_evidence(tmp_path: Path) -> None:
    disk = tmp_path / "loop.raw"
    disk.write_bytes(LOOP)
    machine = qemu_command.Machine(
        "loop", "tcg", Hardware(video_model="vga"), disks=[qemu_command.GuestDisk(disk, "raw", read_only=True)]
    )
    with guest.running(machine, tmp_path, policy=StallPolicy(15)) as running:
        with pytest.raises(guest.GuestFailed) as caught:
            running.wait_for_text("hello", 300, "the greeting")
        running.write_evidence(tmp_path)
    assert "the guest is stuck before the greeting (nothing has moved: disk for " in caught.value.message
    assert (tmp_path / "guest-screen.png").read_bytes().startswith(b"\x89PNG")
    known = json.loads((tmp_path / "guest-triage.json").read_text())
    assert known["signals"]["samples"] and known["signals"]["patience"] == 15


def test_a_guest_whose_disk_cannot_grow_is_ended(
    tiny_disk: Path, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    folder, seed = small_disk(4 << 20), tmp_path / "seed.iso"
    overlay = folder / "overlay.qcow2"
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", overlay, "64M"])
    script = "#!/bin/sh\ndd if=/dev/urandom of=/var/full bs=1024k count=16; sync; echo written > /dev/ttyS0\n"
    iso.nocloud_seed(seed, metadata={"instance-id": "i"}, user_data=script.encode())
    disk = qemu_command.GuestDisk(overlay, "qcow2", base=qemu_command.GuestDisk(tiny_disk, "qcow2", read_only=True))
    machine = qemu_command.Machine(
        "full", "tcg", Hardware(), disks=[disk], cdroms=[qemu_command.GuestDisk(seed, "raw", read_only=True)]
    )
    words = f"no space left on {folder}: the guest's disk could not grow before the end of user-data"
    with guest.running(machine, tmp_path) as running, pytest.raises(PipelineError, match=words):
        running.wait_for_text("written", 240, "the end of user-data")


@pytest.fixture
def server() -> Iterator[int]:
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            for _ in range(64):
                self.wfile.write(bytes(1 << 16))
            if self.path == "/slow":
                over.wait(300)  # so that there is a connection to look at

        def log_message(self, *words: object) -> None:
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield listening.server_address[1]
    over.set()
    listening.shutdown()
    listening.server_close()


def test_what_a_working_guest_does_is_seen(tiny_disk: Path, tmp_path: Path, server: int) -> None:
    overlay, seed = tmp_path / "overlay.qcow2", tmp_path / "seed.iso"
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", overlay, "64M"])
    # 10.0.2.2 is this machine in QEMU's user network; the connection stays open for the sample.
    script = (
        f"#!/bin/sh\nwget -q -O /tmp/got http://10.0.2.2:{server}/x && echo fetched > /dev/ttyS0\n"
        f"(printf 'GET /slow HTTP/1.0\\r\\n\\r\\n'; sleep 300) | nc 10.0.2.2 {server} > /dev/null &\n"
        "sleep 2; dd if=/dev/zero of=/var/full bs=1024k count=4; sync; echo written > /dev/ttyS0\n"
    )
    iso.nocloud_seed(seed, metadata={"instance-id": "i"}, user_data=script.encode())
    machine = qemu_command.Machine(
        "tiny",
        "tcg",
        Hardware(),
        disks=[
            qemu_command.GuestDisk(overlay, "qcow2", base=qemu_command.GuestDisk(tiny_disk, "qcow2", read_only=True))
        ],
        cdroms=[qemu_command.GuestDisk(seed, "raw", read_only=True)],
        network=qemu_command.GuestNetwork(restricted=False),
    )
    with guest.running(machine, tmp_path) as running:
        vitals = GuestMetrics(running, has_screen=machine.hardware.has_screen)
        before = vitals.sample(running.console.size)
        running.wait_for_text("written", 240, "the end of user-data")
        after = vitals.sample(running.console.size)
    assert "fetched" in running.console.text
    assert after.disk - before.disk > 4 << 20
    assert after.network > 1 << 16
    assert after.serial > before.serial
    assert after.processor > before.processor
    assert after.screen and after.screen != before.screen
