"""Carry out ``./inv service.metadefs.load``, ``.export`` and ``.unload`` on the image service's catalog."""

from __future__ import annotations

from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.base.plain_text import one_line
from pipeline.cli.handlers import service_settings
from pipeline.imageservice.lifecycle.metadefs import catalogue, files
from pipeline.imageservice.lifecycle.metadefs.catalogue import CatalogueReport, Existing
from pipeline.imageservice.lifecycle.metadefs.files import Merge
from pipeline.imageservice.service import Service


def load(file: str, path: str, *, merge: bool, prefer_new: bool, overwrite: bool) -> None:
    """Load definition files, or without a path the default catalogue. Raises ``PipelineError`` naming each that cannot
    be.
    """
    how = _how(merge, prefer_new, overwrite)
    if not path:
        if how not in (Merge.SKIP, Merge.OVERWRITE):
            raise PipelineError(
                "without a path, --merge needs --overwrite, and --prefer-new is not possible",
                hint="./inv service.metadefs.load brings the default catalogue up to date; "
                "--merge --overwrite writes it anew",
            )
        existing = Existing.OVERWRITE if how is Merge.OVERWRITE else Existing.ADD_DELETED
        report_catalogue(catalogue.load(_service(file).database, existing))
        return
    report = files.load(_service(file), Path(path), how)
    print(f"{len(report.created)} namespaces made, {len(report.merged)} merged, {len(report.skipped)} skipped")
    if report.skipped:
        print("skipped, because they exist (--merge): " + ", ".join(one_line(name) for name in report.skipped))
    if report.mistakes:
        several = "s" if len(report.mistakes) > 1 else ""
        raise PipelineError(f"{len(report.mistakes)} file{several} could not be loaded", details=report.mistakes)


def report_catalogue(report: CatalogueReport) -> None:
    """Print what became of the default catalogue."""
    print(
        f"default catalogue: {len(report.created)} namespaces made, {len(report.updated)} brought up to date, "
        f"{len(report.unchanged)} unchanged"
    )
    if report.changed:
        print(
            "left, because somebody changed them (./inv service.metadefs.load --merge --overwrite): "
            + ", ".join(report.changed)
        )
    if report.deleted:
        print("left away, because somebody deleted them (./inv service.metadefs.load): " + ", ".join(report.deleted))


def export(file: str, folder: str) -> None:
    """Write every namespace into a file of its own."""
    if not folder:
        raise PipelineError("no folder was named", hint="./inv service.metadefs.export FOLDER")
    written = files.export(_service(file), Path(folder))
    print(f"{len(written)} namespaces written into {folder}")


def unload(file: str) -> None:
    """Delete every namespace."""
    print(f"{files.unload(_service(file))} namespaces deleted")


def _how(merge: bool, prefer_new: bool, overwrite: bool) -> Merge:
    if prefer_new and overwrite:
        raise PipelineError("--prefer-new and --overwrite exclude each other", hint="give one of them")
    if not merge:
        if prefer_new or overwrite:
            raise PipelineError("--prefer-new and --overwrite go with --merge", hint="add --merge")
        return Merge.SKIP
    if overwrite:
        return Merge.OVERWRITE
    return Merge.PREFER_NEW if prefer_new else Merge.ADD_MISSING


def _service(file: str) -> Service:
    from pipeline.imageservice import serve  # brings the whole service with it

    return serve.prepare(service_settings.load(file))
