"""The tiny guest, booted: what it does with its seed, with a larger disk, with its power button, on other hardware."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.host.media import iso
from pipeline.host.qemu import command as qemu_command
from pipeline.host.qemu import guest
from pipeline.host.qemu.hardware import Hardware
from pipeline.host.system import process

pytestmark = pytest.mark.guest

PATIENCE = 180.0
MIB = 1 << 20
LOOK = b"""#!/bin/sh
echo "look: user $(id -un), host $(hostname), address $(ip -4 addr show eth0 | sed -n 's/.*inet \\([^ ]*\\).*/\\1/p')"
echo "look: root $(df -m / | awk 'NR == 2 { print $2 }') MiB"
cd /home/cirros/.ssh
echo "look: admin $(tr '\\n' ';' < authorized_keys) $(stat -c %U:%a authorized_keys)"
exit 3
"""


@dataclass
class Boot:
    """What came of one boot."""

    said: str
    powered_off: bool
    events: list[str]
    notes: dict[str, str] = field(default_factory=dict)


@dataclass
class Bench:
    """Boots overlays of the tiny disk."""

    disk: Path
    folder: Path
    overlays: dict[str, Path] = field(default_factory=dict)

    def overlay(self, name: str, size: int) -> Path:
        path = self.folder / f"{name}.qcow2"
        if name not in self.overlays:
            process.run(["qemu-img", "create", "-q", "-f", "qcow2", path, str(size)])
            self.overlays[name] = path
        return path

    def boot(
        self,
        name: str,
        seed: Path,
        hardware: Hardware,
        *,
        size: int = 64 * MIB,
        until: str = "user-data ended",
        network: qemu_command.GuestNetwork | None = None,
        then: Callable[[guest.Guest], dict[str, str]] = lambda running: {},
    ) -> Boot:
        overlay = qemu_command.GuestDisk(
            self.overlay(name, size), "qcow2", base=qemu_command.GuestDisk(self.disk, "qcow2", read_only=True)
        )
        machine = qemu_command.Machine(
            name,
            "tcg",
            hardware,
            disks=[overlay],
            cdroms=[qemu_command.GuestDisk(seed, "raw", read_only=True)],
            network=network or qemu_command.GuestNetwork(),
        )
        run = self.folder / f"run-{len(list(self.folder.iterdir()))}"
        with guest.running(machine, run) as running:
            running.wait_for_text(until, PATIENCE, until)
            running.wait_for_text("tiny: ready", PATIENCE, "the end of the start")
            notes = then(running)
            powered_off = running.power_off(60)
            events = [event.name for event in running.monitor.events]
            return Boot(running.console.text, powered_off, events, notes)


@pytest.fixture(scope="module")
def bench(tiny_disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tiny_disk, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def key(bench: Bench) -> tuple[Path, str]:
    """A private key for dbclient, and its public one."""
    private = bench.folder / "key"
    said = process.run(["dropbearkey", "-t", "ed25519", "-f", private]).stdout
    return private, next(line for line in said.splitlines() if line.startswith("ssh-ed25519"))


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    yield number


@pytest.fixture(scope="module")
def nocloud(bench: Bench, key: tuple[Path, str], port: int) -> Boot:
    """BIOS, IDE CD-ROM, a larger disk, a NoCloud seed, and a login."""
    seed = bench.folder / "nocloud.iso"
    metadata = {"instance-id": "i-1", "local-hostname": "web.example.org", "public-keys": [key[1]]}
    iso.nocloud_seed(seed, metadata=metadata, user_data=LOOK)

    def log_in(running: guest.Guest) -> dict[str, str]:
        words: list[str | Path] = ["dbclient", "-y", "-y", "-i", key[0], "-p", str(port)]
        said = {
            user: process.run([*words, f"{user}@127.0.0.1", "id -u; pwd"], timeout=60).stdout
            for user in ("cirros", "root")
        }
        wrong = process.run([*words[:3], *words[5:], "cirros@127.0.0.1", "id"], timeout=60, check=False)
        return {**said, "without key": str(wrong.status)}

    network = qemu_command.GuestNetwork(forwards=((port, 22),))
    return bench.boot("grown", seed, Hardware(video_model="vga"), size=200 * MIB, network=network, then=log_in)


def test_user_data_runs_and_its_end_is_told(nocloud: Boot) -> None:
    assert "look: user root" in nocloud.said
    assert "tiny: user-data ended with status 3" in nocloud.said


def test_the_seed_is_applied(nocloud: Boot) -> None:
    assert "datasource nocloud" in nocloud.said
    assert "host web, address 10.0.2.15/24" in nocloud.said
    assert re.search(r"look: admin ssh-ed25519 [^;]+; cirros:600", nocloud.said)
    assert "web login:" in nocloud.said


def test_the_root_file_system_fills_a_larger_disk(nocloud: Boot) -> None:
    found = re.search(r"look: root (\d+) MiB", nocloud.said)
    assert found is not None
    assert int(found[1]) > 140


def test_keys_and_nothing_else_let_in(nocloud: Boot) -> None:
    assert nocloud.notes["cirros"].split() == ["1000", "/home/cirros"]
    assert nocloud.notes["root"].split() == ["0", "/root"]
    assert nocloud.notes["without key"] != "0"


def test_the_power_button_powers_it_off(nocloud: Boot) -> None:
    assert nocloud.powered_off
    assert nocloud.events[-2:] == ["POWERDOWN", "SHUTDOWN"]
    assert "reboot: Power down" in nocloud.said


def test_user_data_runs_once_an_instance(nocloud: Boot, bench: Bench) -> None:
    """The same instance on other hardware: q35, virtio-scsi, YAML metadata. Then another instance of the same disk."""
    hardware = Hardware(machine="q35", disk_bus="scsi", cdrom_bus="scsi", scsi_model="virtio-scsi", video_model="none")
    seed = bench.folder / "again.iso"
    yaml = b"# written by a person\ninstance-id: i-1\nlocal-hostname: 'again'\n"
    iso.write(seed, "cidata", {"meta-data": yaml, "user-data": LOOK})
    again = bench.boot("grown", seed, hardware, size=200 * MIB, until="again login:")
    assert "look:" not in again.said
    assert again.powered_off
    assert _host_key(again) == _host_key(nocloud)


def test_a_config_drive_and_uefi(bench: Bench, key: tuple[Path, str]) -> None:
    seed = bench.folder / "config-drive.iso"
    metadata = {"uuid": "u-2", "hostname": "api.novalocal", "public_keys": {"mine": f"{key[1]}\n"}}
    iso.config_drive(seed, metadata=metadata, user_data=LOOK)
    boot = bench.boot("uefi", seed, Hardware(firmware="uefi", video_model="vga"))
    assert "datasource configdrive" in boot.said
    assert "host api," in boot.said
    assert "EFI stub" in boot.said
    assert re.search(r"look: admin ssh-ed25519 [^;]+; cirros:600", boot.said)
    assert boot.powered_off


def test_without_a_seed_it_starts_all_the_same(bench: Bench) -> None:
    empty = bench.folder / "empty.iso"
    iso.write(empty, "nothing", {"readme": b"x"})
    boot = bench.boot("bare", empty, Hardware(video_model="none"), until="datasource none")
    assert boot.powered_off
    assert "user-data" not in boot.said


class _Metadata(http.server.BaseHTTPRequestHandler):
    """OpenStack's metadata service, as far as a guest asks it. Connections stay open: QEMU has one for them all."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        found = {
            "/openstack/latest/meta_data.json": json.dumps({"uuid": "u-3", "hostname": "from-service"}).encode(),
            "/openstack/latest/user_data": LOOK,
        }.get(self.path, b"")
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)
        self.close_connection = False

    def log_message(self, format: str, *words: object) -> None:
        pass


def test_the_metadata_service_is_asked_last(bench: Bench) -> None:
    empty = bench.folder / "none.iso"
    iso.write(empty, "nothing", {"readme": b"x"})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Metadata) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        forward = f"guestfwd=tcp:169.254.169.254:80-tcp:127.0.0.1:{server.server_port}"
        network = qemu_command.GuestNetwork(options=("net=169.254.169.0/24", "dhcpstart=169.254.169.15", forward))
        boot = bench.boot("service", empty, Hardware(video_model="none"), network=network)
        server.shutdown()
    assert "datasource openstack" in boot.said
    assert "host from-service, address 169.254.169.15/24" in boot.said
    assert "user-data ended with status 3" in boot.said


def _host_key(boot: Boot) -> str:
    found = re.search(r"ssh host key (\S+)", boot.said)
    assert found is not None
    return found[1]


def test_building_it_again_elsewhere_gives_the_same_bytes(tiny_disk: Path, make_tiny: Callable[..., Path]) -> None:
    again = make_tiny()
    assert again != tiny_disk
    assert again.read_bytes() == tiny_disk.read_bytes()


def test_a_file_system_without_faults(tiny_disk: Path, tmp_path: Path) -> None:
    raw, part = tmp_path / "disk.raw", tmp_path / "part"
    process.run(["qemu-img", "convert", "-O", "raw", tiny_disk, raw])
    with raw.open("rb") as disk, part.open("wb") as out:
        disk.seek(32 * MIB)
        shutil.copyfileobj(disk, out)
    checked = process.run(["e2fsck", "-fn", part], check=False)
    assert checked.status == 0, checked.stdout
