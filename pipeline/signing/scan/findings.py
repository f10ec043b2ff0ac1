"""Describe what a scan finds, and what a recipe allows it to find."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

FREE_SPACE = "free space"


@dataclass(frozen=True, order=True)
class ScanFinding:
    """Something that should not leave with the image.

    ``path`` is the file's in the guest, with ``!gzip`` and the like behind it for what is packed in it, or "free space"
    with the byte's offset on the disk in ``detail``. ``sha256`` is of the file or the matched text. No secret is in it.
    """

    path: str
    rule: str
    detail: str
    fix: str
    sha256: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.rule}: {self.detail} ({self.fix})"

    def as_data(self) -> dict[str, str]:
        """Return it as JSON data."""
        return {
            "path": self.path,
            "rule": self.rule,
            "detail": self.detail,
            "fix": self.fix,
            "sha256": self.sha256,
        }


@dataclass(frozen=True)
class Allowance:
    """A finding that a recipe accepts: its rule, a shell pattern of its path, why, and, if given, its digest."""

    rule: str
    path: str
    reason: str
    sha256: str | None = None

    def covers(self, finding: ScanFinding) -> bool:
        """Return whether it is about ``finding``."""
        right = self.rule == finding.rule and fnmatch.fnmatchcase(finding.path, self.path)
        return right and self.sha256 in (None, finding.sha256)


@dataclass(frozen=True)
class ScanReport:
    """The result of a scan: what is wrong, what was allowed and why, and how far it looked (bytes)."""

    findings: Sequence[ScanFinding]
    allowed: Sequence[tuple[ScanFinding, Allowance]]
    files: int
    file_bytes: int
    disk_bytes: int
    filesystems: Sequence[str]
    not_covered: Sequence[str] = field(default=())

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "findings": [finding.as_data() for finding in self.findings],
            "allowed": [{**finding.as_data(), "reason": allowance.reason} for finding, allowance in self.allowed],
            "files": self.files,
            "file_bytes": self.file_bytes,
            "disk_bytes": self.disk_bytes,
            "filesystems": list(self.filesystems),
            "not_covered": list(self.not_covered),
        }


def divide(
    found: Iterable[ScanFinding], allowances: Sequence[Allowance]
) -> tuple[list[ScanFinding], list[tuple[ScanFinding, Allowance]]]:
    """Separate what is wrong from what is allowed."""
    wrong, allowed = [], []
    for finding in sorted(set(found)):
        covering = next((each for each in allowances if each.covers(finding)), None)
        if covering is None:
            wrong.append(finding)
        else:
            allowed.append((finding, covering))
    return wrong, allowed


def digest(data: bytes) -> str:
    """Return SHA-256, hex."""
    return hashlib.sha256(data).hexdigest()
