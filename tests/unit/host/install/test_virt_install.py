"""virt-install's command line, and what of libvirt is read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.host.install import virt_install
from pipeline.host.install.libvirt import Libvirt
from pipeline.host.install.virt_install import DomainMonitor
from pipeline.host.qemu import command as qemu_command
from pipeline.host.qemu.hardware import Hardware

LIBVIRT = Libvirt("qemu:///session", Path("/run/x"), Path("/run/x/pids"), None, {})


def words(hardware: Hardware, network: str = "user") -> Sequence[str]:
    machine = qemu_command.Machine(
        "rhel7-install",
        "tcg",
        hardware,
        memory=1 << 30,
        vcpus=2,
        disks=[qemu_command.GuestDisk(Path("/d.qcow2"), "qcow2")],
        cdroms=[qemu_command.GuestDisk(Path("/s.iso"), "raw", read_only=True)],
    )
    return virt_install._words(machine, "rhel7-install.1", LIBVIRT, Path("/serial.log"), network)


def value(said: Sequence[str], option: str) -> str:
    return said[said.index(option) + 1]


def test_the_recipes_hardware() -> None:
    said = words(
        Hardware(disk_bus="scsi", scsi_model="virtio-scsi", vif_model="e1000", machine="q35", cdrom_bus="sata")
    )
    assert value(said, "--disk") == "path=/d.qcow2,format=qcow2,bus=scsi,cache=unsafe"
    assert "path=/s.iso,device=cdrom,bus=sata,readonly=on" in said
    assert value(said, "--controller") == "type=scsi,model=virtio-scsi"
    assert value(said, "--network") == "user,model=e1000"
    assert (value(said, "--memory"), value(said, "--vcpus"), value(said, "--machine")) == ("1024", "2", "q35")
    assert value(said, "--serial") == "file,path=/serial.log"


def test_nobody_is_waited_for_and_nothing_stays() -> None:
    said = words(Hardware())
    assert {"--noautoconsole", "--transient", "--noreboot"} <= set(said)
    assert value(said, "--wait") == "0"
    assert value(said, "--virt-type") == "qemu"
    assert value(said, "--graphics") == "none"


@pytest.mark.parametrize(
    ("network", "expected"), [("bridge:virbr0", "bridge=virbr0"), ("network:default", "network=default")]
)
def test_networks_of_the_machines_libvirt(network: str, expected: str) -> None:
    assert value(words(Hardware(), network), "--network") == f"{expected},model=virtio"


def test_the_guest_is_marked_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_OWNER", "12-34-abcdef01")
    assert value(words(Hardware()), "--qemu-commandline") == "env=PIPELINE_OWNER=12-34-abcdef01"


def test_events_are_read_from_virshs_words(tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    log.write_text(
        "2026-11-21 08:24:05.371+0000: event RESUME for domain 'x.1': <null>\n"
        "2026-11-21 08:24:09.100+0000: event SHUTDOWN for domain 'x.1': "
        '{"guest":true,"reason":"guest-shutdown"}\n'
        "not an event\n"
    )
    monitor = DomainMonitor("x.1", LIBVIRT, log)
    assert [event.name for event in monitor.events] == ["RESUME", "SHUTDOWN"]
    found = monitor.find_event(("SHUTDOWN",))
    assert found is not None and found.data["reason"] == "guest-shutdown"
    assert monitor.find_event(("GUEST_PANICKED",)) is None
