"""Choose the virtual hardware that image properties ask for: the one table from ``hw_*`` properties to QEMU's devices.

A cloud gives a guest the hardware its image's properties name. The boot test reads the same properties here, so what
was tested is what is published. Names and defaults are those of Nova's libvirt driver on x86 ("Useful image
properties" in the Glance documentation; ``nova/virt/libvirt/blockinfo.py`` and ``designer.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.base.errors import PipelineError

_SCSI_CONTROLLERS = {
    "virtio-scsi": "virtio-scsi-pci",
    "lsilogic": "lsi53c895a",
    "lsisas1068": "mptsas1068",
    "lsisas1078": "megasas",
    "vmpvscsi": "pvscsi",
}
_NICS = {
    "virtio": "virtio-net-pci",
    "e1000": "e1000",
    "e1000e": "e1000e",
    "rtl8139": "rtl8139",
    "ne2k_pci": "ne2k_pci",
    "pcnet": "pcnet",
    "vmxnet3": "vmxnet3",
}
_VIDEOS = {
    "vga": "VGA",
    "cirrus": "cirrus-vga",
    "qxl": "qxl-vga",
    "virtio": "virtio-vga",
    "vmvga": "vmware-svga",
    "bochs": "bochs-display",
    "none": "",
}
_YES = {"yes", "true", "on", "1"}
_NO = {"no", "false", "off", "0"}
# Properties that say how a cloud schedules or handles the guest, not what hardware it sees.
_NOT_HARDWARE = (
    "hw_cpu_",
    "hw_numa_",
    "hw_mem_page_size",
    "hw_pci_numa",
    "hw_rescue_",
    "hw_vif_multiqueue",
    "hw_live_",
)


@dataclass(frozen=True)
class Hardware:
    """The hardware of a guest, each field in the words of the property it comes from.

    ``untested`` lists hardware properties that a boot on this machine cannot honour (a TPM, memory encryption): they
    are published, but no boot test speaks for them.
    """

    machine: str = "pc"
    firmware: str = "bios"
    secure_boot: bool = False
    disk_bus: str = "virtio"
    cdrom_bus: str = "ide"
    scsi_model: str = "lsilogic"
    vif_model: str = "virtio"
    video_model: str = "virtio"
    rng: bool = True
    guest_agent: bool = False
    tablet: bool = False
    hpet: bool = False
    watchdog: str = ""
    windows: bool = False
    untested: tuple[str, ...] = ()

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], *, firmware: str | None = None) -> Hardware:
        """Return the hardware that ``properties`` ask for; ``firmware`` stands in for ``hw_firmware_type``.

        Raises ``PipelineError`` for a value that no device answers to, listing those that one does.
        """
        ask = _Asked(properties)
        machine = "q35" if "q35" in properties.get("hw_machine_type", "pc") else "pc"
        if machine == "q35" and "ide" in (properties.get("hw_disk_bus"), properties.get("hw_cdrom_bus")):
            raise PipelineError("a guest of type q35 has no IDE controller", hint="use sata, scsi or virtio")
        return cls(
            machine=machine,
            firmware=firmware or ask.one_of("hw_firmware_type", "bios", ("bios", "uefi")),
            secure_boot=properties.get("os_secure_boot") == "required",
            disk_bus=ask.one_of("hw_disk_bus", "virtio", ("virtio", "scsi", "ide", "sata", "usb")),
            cdrom_bus=ask.one_of("hw_cdrom_bus", "sata" if machine == "q35" else "ide", ("ide", "sata", "scsi", "usb")),
            scsi_model=ask.one_of("hw_scsi_model", "lsilogic", tuple(_SCSI_CONTROLLERS)),
            vif_model=ask.one_of("hw_vif_model", "virtio", tuple(_NICS)),
            video_model=ask.one_of("hw_video_model", "virtio", tuple(_VIDEOS)),
            rng="hw_rng_model" not in properties or ask.one_of("hw_rng_model", "virtio", ("virtio",)) == "virtio",
            guest_agent=ask.flag("hw_qemu_guest_agent", False),
            tablet=properties.get("hw_pointer_model") == "usbtablet",
            hpet=ask.flag("hw_time_hpet", False),
            watchdog=ask.one_of("hw_watchdog_action", "disabled", ("disabled", "none", "pause", "poweroff", "reset")),
            windows=properties.get("os_type") == "windows",
            untested=tuple(sorted(name for name in properties if _is_untested(name))),
        )

    def disk_device(self, index: int) -> list[str]:
        """Return the words that attach disk node ``disk<index>``; the first one is what the firmware boots."""
        boot = f",bootindex={index + 1}"
        node = f"drive=disk{index},id=d{index}"
        devices = {
            "virtio": f"virtio-blk-pci,{node}{boot}",
            "scsi": f"scsi-hd,bus=scsi.0,{node}{boot}",
            "ide": f"ide-hd,bus=ide.0,unit={index},{node}{boot}",
            "sata": f"ide-hd,bus={self._sata_bus}.{index},{node}{boot}",
            "usb": f"usb-storage,bus=usb.0,{node}{boot},removable=off",
        }
        return ["-device", devices[self.disk_bus]]

    def cdrom_device(self, index: int, *, boot: bool = False) -> list[str]:
        """Return the words that attach CD-ROM node ``cdrom<index>``; with ``boot``, the first one comes before the
        disks.
        """
        node = f"drive=cdrom{index},id=c{index}" + (",bootindex=0" if boot and index == 0 else "")
        devices = {
            "scsi": f"scsi-cd,bus=scsi.0,{node}",
            "ide": f"ide-cd,bus=ide.1,unit={index},{node}",
            "sata": f"ide-cd,bus={self._sata_bus}.{index + 2},{node}",
            "usb": f"usb-storage,bus=usb.0,{node},removable=on",
        }
        return ["-device", devices[self.cdrom_bus]]

    def nic_device(self, netdev: str) -> list[str]:
        """Return the words that attach the network; never with a boot ROM, so that no network boot hides a broken
        disk.
        """
        return ["-device", f"{_NICS[self.vif_model]},netdev={netdev},romfile="]

    def controllers(self) -> list[str]:
        """Return the words for controllers and devices that do not depend on the guest's disks."""
        words: list[str] = []
        buses = {self.disk_bus, self.cdrom_bus}
        if "scsi" in buses:
            words += ["-device", f"{_SCSI_CONTROLLERS[self.scsi_model]},id=scsi"]
        if "sata" in buses and self.machine == "pc":
            words += ["-device", "ich9-ahci,id=sata"]
        if "usb" in buses or self.tablet:
            words += ["-device", "qemu-xhci,id=usb"]
        if self.tablet:
            words += ["-device", "usb-tablet,bus=usb.0"]
        if _VIDEOS[self.video_model]:
            words += ["-device", _VIDEOS[self.video_model]]
        if self.rng:
            words += ["-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"]
        if self.guest_agent:
            words += ["-device", "virtio-serial-pci,id=agents", "-chardev", "null,id=agent"]
            words += ["-device", "virtserialport,bus=agents.0,chardev=agent,name=org.qemu.guest_agent.0"]
        if self.watchdog not in ("", "disabled"):
            words += ["-device", "i6300esb", "-action", f"watchdog={self.watchdog}"]
        return words

    @property
    def has_screen(self) -> bool:
        """Whether there is a picture to take."""
        return self.video_model != "none"

    @property
    def _sata_bus(self) -> str:
        return "ide" if self.machine == "q35" else "sata"


class _Asked:
    def __init__(self, properties: Mapping[str, str]) -> None:
        self._properties = properties

    def one_of(self, name: str, default: str, valid: tuple[str, ...]) -> str:
        value = self._properties.get(name, default)
        if value not in valid:
            raise PipelineError(
                f"no guest can be started here with {name}={value}", hint=f"what works: {', '.join(valid)}"
            )
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self._properties.get(name, "yes" if default else "no").lower()
        if value not in _YES | _NO:
            raise PipelineError(f"{name}={value} is neither yes nor no")
        return value in _YES


_TESTED = {
    "hw_machine_type",
    "hw_firmware_type",
    "hw_disk_bus",
    "hw_cdrom_bus",
    "hw_scsi_model",
    "hw_vif_model",
    "hw_video_model",
    "hw_rng_model",
    "hw_qemu_guest_agent",
    "hw_pointer_model",
    "hw_time_hpet",
    "hw_watchdog_action",
    "hw_architecture",
}


def _is_untested(name: str) -> bool:
    return name.startswith("hw_") and name not in _TESTED and not name.startswith(_NOT_HARDWARE)
