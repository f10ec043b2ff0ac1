"""Find UEFI firmware on this machine by the descriptors that distributions install (QEMU's ``firmware.json``)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base import json_text
from pipeline.base.errors import PipelineError
from pipeline.host.qemu.accelerator import emulator
from pipeline.host.system import tool_versions

# In the order of precedence of QEMU's docs/interop/firmware.json.
_FOLDERS = (Path("/etc/qemu/firmware"), Path("/usr/share/qemu/firmware"))
_BIOS = "bios-256k.bin"  # SeaBIOS, of all machine types since QEMU 2.0
_HINT = "install the UEFI firmware for guests: Debian and Ubuntu: apt install ovmf; Fedora, EL: dnf install edk2-ovmf"


@dataclass(frozen=True)
class UefiFirmware:
    """A UEFI build: its code, the variables a new guest starts with, and whether it needs SMM (Secure Boot)."""

    code: Path
    variables: Path
    format: str
    needs_smm: bool


def find(machine: str, *, secure_boot: bool = False, folders: tuple[Path, ...] = _FOLDERS) -> UefiFirmware:
    """Return the firmware for a guest of type ``machine`` (pc, q35). Raises ``PipelineError`` when there is none."""
    for description in _descriptions(folders):
        if _fits(description, machine, secure_boot):
            mapping = description["mapping"]
            found = UefiFirmware(
                Path(mapping["executable"]["filename"]),
                Path(mapping["nvram-template"]["filename"]),
                mapping["executable"]["format"],
                "requires-smm" in description.get("features", ()),
            )
            if found.code.is_file() and found.variables.is_file():
                return found
    missing = f"UEFI firmware{' with Secure Boot' if secure_boot else ''} for machine type {machine}"
    raise PipelineError(f"there is no {missing} on this machine", hint=_HINT)


def digests(
    machine: str, *, uefi: bool, secure_boot: bool = False, folders: tuple[Path, ...] = _FOLDERS
) -> dict[str, str]:
    """Return the SHA-256 of the files that are a guest's firmware on this machine, by name.

    Raises ``PipelineError`` when there is no UEFI firmware for it.
    """
    if uefi:
        found = find(machine, secure_boot=secure_boot, folders=folders)
        files = [found.code, found.variables]
    else:
        # QEMU's own, where it looks; without it no guest starts, and QEMU says so.
        places = tool_versions.output_of([emulator(), "-L", "help"]).stdout.splitlines()
        files = [file for location in places if (file := Path(location) / _BIOS).is_file()][:1]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _descriptions(folders: tuple[Path, ...]) -> Iterator[dict[str, Any]]:
    files: dict[str, Path] = {}
    for folder in reversed(folders):
        files.update({file.name: file for file in folder.glob("*.json")})
    for name in sorted(files):
        try:
            description = json_text.loads(files[name].read_text())
        except (OSError, ValueError):
            continue  # a broken descriptor of another package is not ours to judge
        if isinstance(description, dict):
            yield description


def _fits(description: dict[str, Any], machine: str, secure_boot: bool) -> bool:
    mapping = description.get("mapping", {})
    features = description.get("features", ())
    if "uefi" not in description.get("interface-types", ()) or mapping.get("device") != "flash":
        return False
    if not {"executable", "nvram-template"} <= set(mapping):
        return False
    if mapping["executable"].get("format") not in ("raw", "qcow2"):
        return False
    if secure_boot != ("enrolled-keys" in features):
        return False
    if not secure_boot and "requires-smm" in features:
        return False
    prefix = "pc-q35-" if machine == "q35" else "pc-i440fx-"
    return any(
        target.get("architecture") == "x86_64" and any(str(name).startswith(prefix) for name in target["machines"])
        for target in description.get("targets", ())
    )
