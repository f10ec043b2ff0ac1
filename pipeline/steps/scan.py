"""Scan before the signature: no secret and no identity of the build machine leaves with the image."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.base import secrets
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.host.guestfs import contents, scrub
from pipeline.host.guestfs.appliance import Appliance
from pipeline.host.system import kernel
from pipeline.recipes.model.product import ProductFormat
from pipeline.recipes.model.recipe import Recipe
from pipeline.signing.keys import private_file
from pipeline.signing.scan import needles
from pipeline.signing.scan import scan as scanning
from pipeline.signing.scan.findings import Allowance, ScanReport
from pipeline.steps.step import Context, Stage

# A file with one more secret of the build in each line, to be looked for in the image.
SECRETS_FILE = "PIPELINE_BUILD_SECRETS_FILE"
_SHOWN = 40


class ScanStep:
    """Reads one product, which holds the same disk as all others.

    Its facts: ``report`` (what was looked at and what was allowed), ``packages`` (the installed software) and ``files``
    (what identifies each, packed), all from one reading. Findings that the recipe does not allow end the build.
    """

    name = "scan"
    stage = Stage.RECORD

    def applies_to(self, recipe: Recipe) -> bool:
        """Unless the recipe says no."""
        return recipe.scan.enabled

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """Return what is allowed, who may log in, the secrets by name and generation, and the appliance's kernel."""
        return {
            "secrets": [secrets.reveal(name, Home.default()).identity for name in recipe.secrets],
            "allow": [each.model_dump(mode="json") for each in recipe.scan.allow],
            "keys": sorted(_expected_keys(recipe)),
            "root": recipe.disk.root,
            "appliance": kernel.newest().version,
        }

    def run(self, context: Context) -> Mapping[str, Any]:
        """Scan; raise ``PipelineError`` with every finding that is not allowed."""
        appliance = Appliance(context.accelerator, context.home.cache / "appliance", context.folder, context.log)
        revealed = {name: secrets.reveal(name, context.home).value.encode() for name in context.recipe.secrets}
        known = {name: value for name, value in revealed.items() if len(value) >= needles.MIN_SECRET}
        # A raw product needs no decoding.
        disks = [ProductFormat(name) for name in context.products if ProductFormat(name).is_whole_disk]
        chosen = next((each for each in (ProductFormat.RAW, *disks) if each in context.products), ProductFormat.AMI)
        scanned = scanning.scan_image(
            context.products[chosen],
            "raw" if chosen is ProductFormat.AMI else str(chosen),
            appliance,
            secrets=[*known.values(), *_from_file()],
            allowances=[Allowance(**each.model_dump()) for each in context.recipe.scan.allow],
            expected_keys=_expected_keys(context.recipe),
            root=context.recipe.disk.root,
            progress=context.progress,
        )
        short = [f"the secret {name}: too short to tell from chance" for name in sorted(set(revealed) - set(known))]
        limits = [*short, *_not_scrubbed(context), *scanned.report.not_covered]
        report = dataclasses.replace(scanned.report, not_covered=limits)
        _require_clean(context.recipe, report)
        return {
            "report": report.as_data(),
            "packages": [dataclasses.asdict(package) for package in scanned.packages],
            "files": contents.pack(scanned.files) if scanned.files else None,
        }


def _require_clean(recipe: Recipe, report: ScanReport) -> None:
    if not report.findings:
        return
    more = len(report.findings) - _SHOWN
    raise PipelineError(
        f"recipe {recipe.name}: the image gives away {len(report.findings)} secrets or identities; it is not signed",
        details=[*map(str, report.findings[:_SHOWN]), *([f"and {more} more"] if more > 0 else [])],
        hint="mend the recipe, or accept a finding with its reason under scan.allow (rule, path, reason)",
    )


def _expected_keys(recipe: Recipe) -> frozenset[str]:
    """Return the base64 words of the public keys that the recipe puts into the image."""
    return frozenset(key.split()[1] for key in _keys(recipe))


def _keys(recipe: Recipe) -> Iterator[str]:
    yield from recipe.customize.ssh_keys
    for user in recipe.customize.users:
        yield from user.ssh_keys


def _not_scrubbed(context: Context) -> Iterator[str]:
    """Where deleted files may still lie, beyond what a search of free space recognises."""
    offline = context.facts.get("offline", {})
    if not offline.get("sealed") and "scrub" not in offline:
        yield "free space: it was not scrubbed"
    for device, method in offline.get("scrub", {}).items():
        if method == scrub.NOT_COVERED:
            yield f"free space of {device}: it was not scrubbed, since no method is known for its file system"


def _from_file() -> list[bytes]:
    named = os.environ.get(SECRETS_FILE)
    if not named:
        return []
    return [line for line in private_file.read(Path(named), what="the file of build secrets").splitlines() if line]
