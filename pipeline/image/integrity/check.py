"""Answer the whole question: does a disk image hold, in its file, all that it names?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.image.integrity import qcow2, raw, vdi, vhd, vhdx, vmdk
from pipeline.image.integrity.layout import DiskFile

_CHECKS: Mapping[str, Callable[[DiskFile], None]] = {
    "qcow2": qcow2.check,
    "vmdk": vmdk.check,
    "vhd": vhd.check,
    "vhdx": vhdx.check,
    "vdi": vdi.check,
    "gpt": raw.check_disk,
    "iso": raw.check_iso,
}


def require_whole(path: Path, detected: str) -> None:
    """Raise ``FormatRefused`` unless an image that was inspected and found to be ``detected`` is whole.

    Reads the image's tables, and of compressed images everything.
    """
    check = _CHECKS.get(detected)
    if check is None:
        return
    with path.open("rb", buffering=0) as file:
        check(DiskFile(file, detected))
