"""Write OVA packages: a virtual machine's description, its disk and a manifest, in one tar file (DMTF DSP0243, OVF
1.1).
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from pipeline.base import atomic

_BLOCK = 1 << 20
# CIM_OperatingSystem.OsType: 101 Linux 64-bit, 103 to 115 Windows Server 64-bit in its versions.
_LINUX, _WINDOWS = 101, 103
_DISK_FORMAT = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
_ENVELOPE = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
 <References><File ovf:id="file1" ovf:href={disk} ovf:size="{size}"/></References>
 <DiskSection><Info>The disk</Info>
  <Disk ovf:diskId="disk1" ovf:fileRef="file1" ovf:capacity="{capacity}" ovf:capacityAllocationUnits="byte"
   ovf:format="{format}"/>
 </DiskSection>
 <NetworkSection><Info>The network</Info><Network ovf:name="network"><Description/></Network></NetworkSection>
 <VirtualSystem ovf:id={name}><Info>{summary}</Info><Name>{plain_name}</Name>
  <OperatingSystemSection ovf:id="{system}"><Info>The operating system</Info></OperatingSystemSection>
  <VirtualHardwareSection><Info>The hardware</Info>
   <System><vssd:ElementName>Virtual Hardware</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>
    <vssd:VirtualSystemIdentifier>{plain_name}</vssd:VirtualSystemIdentifier>
    <vssd:VirtualSystemType>vmx-10</vssd:VirtualSystemType></System>
{items}  </VirtualHardwareSection>
 </VirtualSystem>
</Envelope>
"""


@dataclass(frozen=True)
class OvaDescription:
    """What the package says of its virtual machine. ``memory`` and ``capacity`` (the disk's size) are in bytes."""

    name: str
    summary: str
    capacity: int
    memory: int
    vcpus: int
    windows: bool = False


def write(target: Path, disk: Path, described: OvaDescription, *, time: int = 0) -> None:
    """Pack the streamOptimized VMDK ``disk``. Equal disks give equal packages; ``time`` dates the entries."""
    named = f"{described.name}-disk1.vmdk"
    size, digest = disk.stat().st_size, _sha256(disk)
    envelope = _envelope(described, named, size).encode()
    manifest = (
        f"SHA256({described.name}.ovf)= {hashlib.sha256(envelope).hexdigest()}\nSHA256({named})= {digest}\n"
    ).encode()
    with atomic.new_file(target) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as package:
        # The description comes first, so that a reader of a stream knows what follows (DSP0243, section 5.3).
        for name, content in ((f"{described.name}.ovf", envelope), (f"{described.name}.mf", manifest)):
            package.addfile(_entry(name, len(content), time), io.BytesIO(content))
        with disk.open("rb") as opened:
            package.addfile(_entry(named, size, time), opened)


def _envelope(described: OvaDescription, disk: str, size: int) -> str:
    items = [
        _item(1, 3, f"{described.vcpus} virtual CPU", VirtualQuantity=str(described.vcpus)),
        _item(2, 4, "Memory", AllocationUnits="byte * 2^20", VirtualQuantity=str(described.memory >> 20)),
        _item(3, 6, "SCSI controller", Address="0", ResourceSubType="lsilogic"),
        _item(4, 17, "Disk", AddressOnParent="0", HostResource="ovf:/disk/disk1", Parent="3"),
        _item(5, 10, "Network card", AutomaticAllocation="true", Connection="network", ResourceSubType="E1000"),
    ]
    return _ENVELOPE.format(
        disk=quoteattr(disk),
        size=size,
        capacity=described.capacity,
        format=_DISK_FORMAT,
        name=quoteattr(described.name),
        plain_name=escape(described.name),
        summary=escape(described.summary or described.name),
        system=_WINDOWS if described.windows else _LINUX,
        items="".join(items),
    )


def _item(number: int, kind: int, name: str, **facts: str) -> str:
    """One resource. Its elements stand in the order of their names, as the schema wants them."""
    elements = {**facts, "ElementName": name, "InstanceID": str(number), "ResourceType": str(kind)}
    inside = "".join(f"<rasd:{key}>{escape(elements[key])}</rasd:{key}>" for key in sorted(elements))
    return f"   <Item>{inside}</Item>\n"


def _entry(name: str, size: int, time: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = size, time, 0o644
    return entry


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
