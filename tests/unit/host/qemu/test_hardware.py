from __future__ import annotations

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.qemu.hardware import Hardware


def test_without_properties_it_is_what_nova_gives() -> None:
    hardware = Hardware.from_properties({})
    assert (hardware.machine, hardware.firmware, hardware.disk_bus, hardware.vif_model) == (
        "pc",
        "bios",
        "virtio",
        "virtio",
    )
    assert hardware.cdrom_bus == "ide"
    assert hardware.rng
    assert not hardware.guest_agent
    assert hardware.untested == ()


def test_each_disk_bus_has_its_device() -> None:
    devices = {
        bus: Hardware.from_properties({"hw_disk_bus": bus, "hw_scsi_model": "virtio-scsi"}).disk_device(0)[1]
        for bus in ("virtio", "scsi", "ide", "sata", "usb")
    }
    assert devices["virtio"].startswith("virtio-blk-pci,")
    assert devices["scsi"].startswith("scsi-hd,bus=scsi.0,")
    assert devices["ide"].startswith("ide-hd,bus=ide.0,")
    assert devices["sata"].startswith("ide-hd,bus=sata.0,")
    assert devices["usb"].startswith("usb-storage,bus=usb.0,")
    assert all("bootindex=1" in device for device in devices.values())


def test_q35_has_its_cdrom_on_sata_as_nova_does() -> None:
    hardware = Hardware.from_properties({"hw_machine_type": "pc-q35-7.2"})
    assert hardware.machine == "q35"
    assert hardware.cdrom_device(0)[1].startswith("ide-cd,bus=ide.2,")


def test_q35_and_ide_do_not_go_together() -> None:
    with pytest.raises(PipelineError, match="q35 has no IDE controller"):
        Hardware.from_properties({"hw_machine_type": "q35", "hw_disk_bus": "ide"})


def test_controllers_come_only_when_asked_for() -> None:
    plain = " ".join(Hardware.from_properties({"hw_video_model": "none"}).controllers())
    assert "scsi" not in plain
    assert "usb" not in plain
    assert "serial" not in plain
    full = " ".join(
        Hardware.from_properties(
            {
                "hw_disk_bus": "scsi",
                "hw_scsi_model": "virtio-scsi",
                "hw_qemu_guest_agent": "yes",
                "hw_pointer_model": "usbtablet",
                "hw_watchdog_action": "reset",
                "hw_video_model": "qxl",
            }
        ).controllers()
    )
    for device in ("virtio-scsi-pci", "org.qemu.guest_agent.0", "usb-tablet", "i6300esb", "watchdog=reset", "qxl-vga"):
        assert device in full


def test_no_network_boot_hides_a_broken_disk() -> None:
    assert Hardware.from_properties({"hw_vif_model": "e1000"}).nic_device("net0") == [
        "-device",
        "e1000,netdev=net0,romfile=",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hw_disk_bus", "fdc"),
        ("hw_vif_model", "spapr-vlan"),
        ("hw_video_model", "xen"),
        ("hw_scsi_model", "buslogic"),
        ("hw_firmware_type", "coreboot"),
        ("hw_qemu_guest_agent", "perhaps"),
    ],
)
def test_a_value_without_a_device_is_refused(name: str, value: str) -> None:
    with pytest.raises(PipelineError) as caught:
        Hardware.from_properties({name: value})
    assert f"{name}={value}" in caught.value.message


def test_what_no_boot_here_speaks_for_is_told() -> None:
    hardware = Hardware.from_properties({"hw_tpm_version": "2.0", "hw_cpu_cores": "2", "hw_disk_bus": "virtio"})
    assert hardware.untested == ("hw_tpm_version",)


def test_the_firmware_of_the_test_overrides_the_published_one() -> None:
    assert Hardware.from_properties({"hw_firmware_type": "bios"}, firmware="uefi").firmware == "uefi"
