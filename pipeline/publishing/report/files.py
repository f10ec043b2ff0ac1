"""Write a night's report to disk: page, text and data in a folder of their own, with the files they link to."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.base import atomic, plain_text
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.engine.record.result import BuildResult
from pipeline.publishing.nightly import Night
from pipeline.publishing.report import facts, markdown
from pipeline.publishing.report.page import page

_MAX_EMBEDDED = 4 << 20
_MAX_COPIED = 64 << 20
_NAMED = 5
_RUN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_KINDS = {
    "cdx": "bill of materials",
    "spdx": "bill of materials",
    "intoto": "attestation",
    "sigstore": "attestation",
    "png": "screen",
    "log": "log",
}
_PNG = b"\x89PNG\r\n\x1a\n"


def folder(home: Home) -> Path:
    """Return where the reports lie, one folder a run."""
    return home.root / "reports"


def write(night: Night, home: Home, *, keep: int) -> tuple[Path, dict[str, Any]]:
    """Write the report of ``night``; return its folder and its facts. Of older ones, ``keep`` stay in all."""
    report = plain_text.everywhere(facts.of_night(night, home))
    target = folder(home) / night.run
    with atomic.new_folder(target) as temporary:
        for recipe, build in zip(report["recipes"], night.builds, strict=True):
            recipe["files"] = _copy_documents(build, temporary / "files")
            recipe["screens"] = _screens(build)
            recipe["serial"] = _serial(build)
        (temporary / "index.html").write_text(page(report))
        (temporary / "report.md").write_text(markdown.text(report))
        (temporary / "report.json").write_text(json.dumps(_without_pictures(report), indent=1))
    _forget_old(home, keep)
    return target, report


def newest(home: Home, run: str = "") -> Path:
    """Return the folder of the report of ``run``, else of the newest one. Raises ``PipelineError``
    when there is none.
    """
    runs = _runs(home)
    if not runs:
        raise PipelineError("there is no report of any nightly run yet", hint="./inv nightly writes one")
    found = [path for path in runs if not run or path.name == run]
    if not found:
        newest_first = ", ".join(path.name for path in runs[: -_NAMED - 1 : -1])
        raise PipelineError(f"there is no report of the run {run}", hint=f"the newest runs: {newest_first}")
    return found[-1]


def _runs(home: Home) -> list[Path]:
    """Return the reports' folders, oldest first."""
    root = folder(home)
    return sorted(path for path in root.iterdir() if _RUN.fullmatch(path.name)) if root.is_dir() else []


def _forget_old(home: Home, keep: int) -> None:
    atomic.sweep(folder(home))
    for path in _runs(home)[:-keep]:
        shutil.rmtree(path, ignore_errors=True)


def _screens(build: BuildResult) -> list[dict[str, str]]:
    """Screenshots, of the boot test and of failures, as data in the page."""
    found = []
    for name, path in [*build.documents.items(), *_evidence(build)]:
        data = path.read_bytes() if name.endswith(".png") and path.stat().st_size <= _MAX_EMBEDDED else b""
        if data.startswith(_PNG):
            found.append({"name": name, "data": f"data:image/png;base64,{base64.b64encode(data).decode()}"})
    return found


def _serial(build: BuildResult) -> list[dict[str, str]]:
    return [
        {"name": name, "text": facts.tail(path)}
        for name, path in [*build.documents.items(), *_evidence(build)]
        if name.endswith(".log")
    ]


def _evidence(build: BuildResult) -> Sequence[tuple[str, Path]]:
    """Return what a failed step left behind."""
    if build.evidence is None or not build.evidence.is_dir():
        return []
    return [(path.name, path) for path in sorted(build.evidence.iterdir()) if path.is_file()]


def _copy_documents(build: BuildResult, target: Path) -> list[dict[str, str]]:
    """Bills of materials, attestations and logs next to the page, so that its links work wherever it is moved to."""
    copied = []
    for name, path in build.documents.items():
        if path.stat().st_size <= _MAX_COPIED:
            location = target / build.recipe.name / name
            location.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, location)
            copied.append({"kind": _kind(name), "name": name, "href": f"files/{build.recipe.name}/{name}"})
    return copied


def _kind(name: str) -> str:
    """Return what a document is, by the parts of its name (``tiny.cdx.json``)."""
    parts = name.lower().split(".")
    return next((kind for part, kind in _KINDS.items() if part in parts), "document")


def _without_pictures(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts as other programs want them: pictures by name only."""
    recipes = [
        {**recipe, "screens": [{"name": screen["name"]} for screen in recipe["screens"]]}
        for recipe in report["recipes"]
    ]
    return {**report, "recipes": recipes}
