"""Check the limits a new image must keep to before anybody sees it."""

from __future__ import annotations

from pipeline.engine.record.result import BuildResult
from pipeline.publishing.contents.diff import ContentsDiff
from pipeline.recipes.model.retention_fields import Gates

BOOT_TEST = "boot_test"
SCAN = "scan"


def tripped(
    gates: Gates, build: BuildResult, size: int, size_before: int | None, difference: ContentsDiff | None
) -> tuple[str, ...]:
    """Return why the image must be held back, one sentence a gate; nothing when it may be shown.

    ``size`` is the new image's in bytes, ``size_before`` that of the one published before in the same format, or
    ``None``; ``difference`` what changed inside since then, or ``None`` when that is not known.
    """
    found = [_size(gates, size, size_before), _packages(gates, difference), _boot(gates, build)]
    return tuple(reason for reason in [*found, _scan(gates, build)] if reason)


def _size(gates: Gates, size: int, before: int | None) -> str | None:
    if not before:
        return None
    patch = (size - before) * 100 / before
    if gates.max_growth != "any" and patch > gates.max_growth:
        return f"it grew by {patch:.0f} % (from {before} to {size} bytes; at most {gates.max_growth} % are allowed)"
    if gates.max_shrinkage != "any" and -patch > gates.max_shrinkage:
        return f"it shrank by {-patch:.0f} % (from {before} to {size} bytes; {gates.max_shrinkage} % are allowed)"
    return None


def _packages(gates: Gates, difference: ContentsDiff | None) -> str | None:
    if difference is None or gates.max_removed_packages == "any":
        return None
    removed = list(difference.packages.removed)
    if len(removed) <= gates.max_removed_packages:
        return None
    shown = ", ".join(removed[:8]) + (", …" if len(removed) > 8 else "")
    return f"{len(removed)} packages are gone ({shown}; at most {gates.max_removed_packages} are allowed)"


def _boot(gates: Gates, build: BuildResult) -> str | None:
    if gates.boot_test and BOOT_TEST not in build.facts:
        return "there is no record of a passed boot test"
    return None


def _scan(gates: Gates, build: BuildResult) -> str | None:
    findings = build.facts.get(SCAN, {}).get("findings") or ()
    if not gates.scan or not findings:
        return None
    return f"the scan found {len(findings)} thing{'s' if len(findings) > 1 else ''} that must not be in an image"
