"""Carry out ``./inv service.db-upgrade``, ``.backup``, ``.restore`` and ``.adopt`` on the image service's catalog."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.base.plain_text import one_line
from pipeline.base.terminal import SafeConsole
from pipeline.cli.handlers import metadefs, service_settings
from pipeline.imageservice.catalog.database import backup as saving
from pipeline.imageservice.catalog.database import migrate
from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.lifecycle import adopt as adoption
from pipeline.imageservice.lifecycle.metadefs import catalogue
from pipeline.imageservice.server import background
from pipeline.imageservice.settings import Settings

_SHOWN = 20  # problems, and names, of an adoption that are printed


def upgrade(file: str, *, expand: bool) -> None:
    """Upgrade the schema, all the way or as far as an older version of the service can live with."""
    settings = service_settings.load(file)
    database = _database(settings)
    before, after = migrate.upgrade(database, until="expand" if expand else "contract")
    print(f"the schema is at {after}" if before == after else f"the schema went from {before or 'nothing'} to {after}")
    if catalogue.was_loaded(database) and not catalogue.is_current(database):
        metadefs.report_catalogue(catalogue.load(database))


def backup(file: str, target: str) -> None:
    """Save the catalog."""
    settings = service_settings.load(file)
    name = f"catalog-{datetime.now(UTC):%Y%m%d-%H%M%S}.jsonl.gz"
    path = Path(target).absolute() if target else settings.folder / "backups" / name
    database = _database(settings)
    migrate.check(database)
    counts = saving.backup(database, path)
    print(f"{counts['catalog_images']} images saved in {path} (the catalog only: data stays in its stores)")


def restore(file: str, source: str) -> None:
    """Fill an empty catalog."""
    if not source:
        raise PipelineError("no backup was named", hint="./inv service.restore FILE")
    settings = service_settings.load(file)
    if background.status(settings).pid is not None:
        raise PipelineError("the image service is running", hint="./inv service.stop")
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    counts = saving.restore(_database(settings), Path(source))
    print(f"{counts['catalog_images']} images restored")


def adopt(file: str, url: str, *, apply: bool, renamed: Iterable[str], admin_projects: Collection[str] = ()) -> None:
    """Take over another catalog, or say what that would mean."""
    from pipeline.imageservice import serve  # brings the whole service with it

    if not url:
        raise PipelineError("no database was named", hint="./inv service.adopt mysql://user:password@host/glance")
    names = dict(_pair(text) for text in renamed)
    service = serve.prepare(service_settings.load(file))
    with SafeConsole(stderr=True).status("reading"):
        report = adoption.adopt(
            service.database, service.stores, url, apply=apply, renamed=names, admin_projects=admin_projects
        )
    _print(report, applied=apply)


def _print(report: adoption.AdoptionReport, *, applied: bool) -> None:
    verb = "taken over" if applied else "to be taken over"
    print(f"images {verb}: {report.statuses.total()}")
    for name, count in sorted(report.statuses.items()):
        print(one_line(f"  {name}: {count}"))
    print(f"with {', '.join(f'{count} {name}' for name, count in sorted(report.parts.items())) or 'nothing else'}")
    for store, count in sorted(report.stores.items()):
        print(f"  data in store {store}: {count}")
    print(f"namespaces of metadata definitions {verb}: {report.metadefs.taken}")
    _print_names("binding everybody's images, since protected or an administrator's", report.metadefs.binding)
    _print_names("binding their own project's images only (--admin-project)", report.metadefs.own)
    if report.metadefs.known:
        print(f"  here already, left as they are: {report.metadefs.known}")
    if report.known:
        print(f"images that are here already, left as they are: {report.known}")
    for problem in report.problems[:_SHOWN]:
        print(one_line(f"attention: {problem}"))
    if len(report.problems) > _SHOWN:
        print(f"attention: {len(report.problems) - _SHOWN} more of this kind")
    if not applied:
        print("nothing was changed; add --apply to do it")


def _print_names(what: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        print(f"  {what}: {', '.join(one_line(name) for name in names[:_SHOWN])}{more}")


def _pair(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise PipelineError(f"--store {text}: write old=new")
    return old, new


def _database(settings: Settings) -> Database:
    if settings.is_embedded:
        settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Database(settings.database_url, lock_timeout=settings.database.patience)
