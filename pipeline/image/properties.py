"""Check image properties: names, values, and what must not stand together.

Clouds store any property and say nothing when nobody understands it, so that a misspelt ``hw_disk_buss`` shows only as
a guest that doesn't boot. Here it is an error that names what was meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.base.errors import PipelineError
from pipeline.image import vocabulary

GIB = 1 << 30
MIB = 1 << 20
# Glance's default ``image_property_quota``.
MAX_PROPERTIES = 128
SIGNATURE = (
    "img_signature",
    "img_signature_hash_method",
    "img_signature_key_type",
    "img_signature_certificate_uuid",
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_:.-]{0,254}")
_TRAIT = re.compile(r"trait\d*:[A-Z0-9_]+")
_MEANINGFUL = ("hw_", "os_", "img_", "vmware_")
# The image's own attributes: the API refuses them as properties, or worse, takes them for the attribute.
_ATTRIBUTES = frozenset(
    {
        "checksum",
        "container_format",
        "created_at",
        "deleted",
        "deleted_at",
        "direct_url",
        "disk_format",
        "file",
        "id",
        "is_public",
        "locations",
        "members",
        "min_disk",
        "min_ram",
        "name",
        "os_hash_algo",
        "os_hash_value",
        "os_hidden",
        "owner",
        "protected",
        "schema",
        "self",
        "size",
        "status",
        "stores",
        "tags",
        "updated_at",
        "virtual_size",
        "visibility",
    }
)


@dataclass(frozen=True)
class PropertyProblem:
    """What is wrong with one property."""

    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


def problems(properties: Mapping[str, str]) -> list[PropertyProblem]:
    """Return everything that is wrong with ``properties``, in their order."""
    found = [PropertyProblem(name, problem) for name, value in properties.items() if (problem := _problem(name, value))]
    found += _contradictions(properties)
    if len(properties) > MAX_PROPERTIES:
        found.append(
            PropertyProblem("properties", f"{len(properties)} of them; clouds take {MAX_PROPERTIES} by default")
        )
    return found


def require_valid(properties: Mapping[str, str], *, of: str) -> None:
    """Raise one ``PipelineError`` with all problems of the properties of ``of``, if there are any."""
    found = problems(properties)
    if found:
        raise PipelineError(f"{of}: wrong image properties", details=[str(problem) for problem in found])


def _problem(name: str, value: str) -> str | None:
    if not _NAME.fullmatch(name):
        return "a property's name has letters, digits and _:.- and at most 255 characters"
    if name.startswith("os_glance_"):
        return "names beginning with os_glance_ belong to the image service"
    if name in _ATTRIBUTES:
        return "this is an attribute of the image itself, not a property"
    if name.startswith("trait"):
        good = _TRAIT.fullmatch(name) and value == "required"
        return None if good else "a trait is written trait:HW_CPU_X86_AVX2 and its value is 'required'"
    entry = vocabulary.find(name)
    if entry is not None:
        return entry.problem(value)
    return _unknown(name) or _custom(value)


def _unknown(name: str) -> str | None:
    """Names of one's own are allowed, but not in the name spaces of Nova and Glance, nor a slip of the pen away."""
    reserved = name.lower().startswith(_MEANINGFUL)
    near = vocabulary.nearest(name, 0.6 if reserved else 0.9)
    guess = f"; did you mean {' or '.join(near)}?" if near else ""
    if reserved:
        return f"no such property is known{guess}" + ("" if guess else "; choose a name without this prefix")
    return f"no such property is known{guess}" if near else None


def _custom(value: str) -> str | None:
    if len(value.encode()) > 65_535:
        return "is longer than 65535 bytes"
    return "has a NUL character" if "\0" in value else None


def _contradictions(properties: Mapping[str, str]) -> Iterator[PropertyProblem]:
    signature = [name for name in SIGNATURE if name in properties]
    if signature and len(signature) != len(SIGNATURE):
        absent = ", ".join(name for name in SIGNATURE if name not in properties)
        # Glance and Nova take such an image for unsigned without a word.
        yield PropertyProblem("img_signature", f"the four signature properties go together; missing: {absent}")
    has = properties.get
    if {"architecture", "hw_architecture"} <= properties.keys() and has("architecture") != has("hw_architecture"):
        yield PropertyProblem("hw_architecture", f"it says another processor than architecture: {has('architecture')}")
    scsi = [name for name in ("hw_disk_bus", "hw_cdrom_bus") if has(name) == "scsi"]
    if scsi and "hw_scsi_model" not in properties:
        yield PropertyProblem("hw_scsi_model", f"{scsi[0]} scsi needs a controller; set it to virtio-scsi")
    machine = has("hw_machine_type", "")
    if "q35" in machine and has("hw_disk_bus") == "ide":
        yield PropertyProblem("hw_disk_bus", f"machine {machine} has no IDE controller; use virtio, scsi or sata")
    if has("os_secure_boot") == "required" and has("hw_firmware_type") != "uefi":
        yield PropertyProblem("os_secure_boot", "Secure Boot needs hw_firmware_type uefi")
    if "hw_tpm_model" in properties and "hw_tpm_version" not in properties:
        yield PropertyProblem("hw_tpm_version", "hw_tpm_model needs it too")
    if has("os_require_quiesce") in ("yes", "true") and has("hw_qemu_guest_agent") not in ("yes", "true"):
        yield PropertyProblem(
            "os_require_quiesce", "file systems are frozen by the guest agent: hw_qemu_guest_agent yes"
        )


def min_disk(virtual_size: int, claimed: int | None = None) -> int:
    """Return the smallest disk in GiB for an image of ``virtual_size`` bytes.

    Raises ``PipelineError`` when less is claimed: a guest on that disk would lose its end.
    """
    needed = -(-virtual_size // GIB)
    if claimed is not None and claimed < needed:
        raise PipelineError(
            f"min_disk: {claimed} GiB are claimed, the disk has {virtual_size / GIB:.2f} GiB",
            hint=f"set it to {needed} or leave it out",
        )
    return needed if claimed is None else claimed


def min_ram(claimed: int, tested_memory: int | None) -> int:
    """Return the smallest memory in MiB: the claimed one, else the one (in bytes) the image was seen to boot with,
    else 0.

    Raises ``PipelineError`` when less is claimed than was ever tried.
    """
    tested = tested_memory // MIB if tested_memory else 0
    if claimed and claimed < tested:
        raise PipelineError(
            f"min_ram: {claimed} MiB are claimed, the boot test used {tested} MiB",
            hint=f"lower the boot test's memory to {claimed}MiB or claim {tested}",
        )
    return claimed or tested
