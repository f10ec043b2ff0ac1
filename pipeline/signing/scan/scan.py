"""Scan one finished image: its files through the appliance, its disk byte by byte.

What it does not cover is said in the report: file systems it could not mount, packed data beyond its limits. And
in general: secrets that are encrypted or packed in other ways than gzip, xz, zstd and initramfs archives; deleted files
that lay packed, or in pieces with the secret across two of them; passwords in the Windows registry in other places than
``registry.yaml`` names, unless the build knew them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.progress import Progress, nothing
from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.installed_packages import InstalledPackage, installed
from pipeline.image import convert
from pipeline.signing.scan import disk, guest, needles
from pipeline.signing.scan.findings import Allowance, ScanReport, divide

GENERAL_LIMITS = (
    "secrets encrypted, or packed otherwise than by gzip, xz, zstd and initramfs archives",
    "deleted files that were packed, or whose secret lay across two pieces of a file",
    "passwords in the Windows registry in other places than the known ones, or encrypted",
)


@dataclass(frozen=True)
class ImageScan:
    """The report, and the software and the files (path → what identifies it) that the same reading found."""

    report: ScanReport
    packages: Sequence[InstalledPackage]
    files: Mapping[str, str]


def scan_image(
    image: Path,
    disk_format: str,
    appliance: Appliance,
    *,
    secrets: Iterable[bytes] = (),
    allowances: Sequence[Allowance] = (),
    expected_keys: frozenset[str] = frozenset(),
    root: str | None = None,
    progress: Progress = nothing,
) -> ImageScan:
    """Scan ``image`` and list its software.

    ``secrets``: values that the build knew and the image must not. ``expected_keys``: public SSH keys (their base64
    word) that may log in. ``root``: where the system is, if there are several. The decoded disk is written to the
    appliance's scratch folder unless the image is raw.
    """
    searched = [*needles.known(secrets), *needles.GENERIC]
    kept = guest.KeptFiles(appliance.scratch)
    progress.say("reading all files of the image")
    with appliance.launched([Drive(image, disk_format, read_only=True)]) as handle:
        scanned = guest.walk(
            handle, appliance.scratch, searched, kept, expected_keys=expected_keys, root=root, progress=progress
        )
    progress.say("reading the disk, free space too")
    raw = image if disk_format == "raw" else _decoded(image, disk_format, appliance.scratch)
    try:
        leftovers, data = disk.scan(raw, searched, scanned.known, progress=progress)
    finally:
        if raw != image:
            raw.unlink()
    wrong, allowed = divide([*scanned.findings, *leftovers], allowances)
    report = ScanReport(
        findings=wrong,
        allowed=allowed,
        files=scanned.files,
        file_bytes=scanned.bytes,
        disk_bytes=data,
        filesystems=scanned.filesystems,
        not_covered=[*scanned.not_covered, *GENERAL_LIMITS],
    )
    return ImageScan(report, [*installed(kept), *scanned.programs], scanned.listed)


def _decoded(image: Path, disk_format: str, scratch: Path) -> Path:
    target = scratch / "decoded.raw"
    convert.convert(image, disk_format, target, convert.ConvertOptions("raw"), mode=0o600)
    return target
