"""Declare the tasks that run the bundled image service, and that look after its catalog and stores."""

from __future__ import annotations

from invoke.context import Context

from pipeline.cli.task import task

_SERVICE = "Image service"
_SETTINGS = "the settings file (default: settings.yaml in the service's folder)"


@task("serve", _SERVICE, help={"settings": _SETTINGS})
def serve(context: Context, settings: str = "") -> None:
    """Run the image service in the foreground, until Ctrl-C."""
    from pipeline.cli.handlers import imageservice

    imageservice.serve(settings)


@task("service.start", _SERVICE, help={"settings": _SETTINGS})
def service_start(context: Context, settings: str = "") -> None:
    """Start the image service in the background, and wait until it answers."""
    from pipeline.cli.handlers import imageservice

    imageservice.start(settings)


@task("service.stop", _SERVICE, help={"settings": _SETTINGS, "now": "cut off running uploads and downloads"})
def service_stop(context: Context, settings: str = "", now: bool = False) -> None:
    """Stop the image service in the background; running uploads end first."""
    from pipeline.cli.handlers import imageservice

    imageservice.stop(settings, now=now)


@task("service.status", _SERVICE, help={"settings": _SETTINGS, "json": "as JSON on standard output"})
def service_status(context: Context, settings: str = "", json: bool = False) -> None:
    """Tell whether the image service runs, where it listens, and how to reach it."""
    from pipeline.cli.handlers import imageservice

    imageservice.status(settings, as_json=json)


@task("service.db-upgrade", _SERVICE, help={"settings": _SETTINGS, "expand": "only what older versions can live with"})
def service_db_upgrade(context: Context, settings: str = "", expand: bool = False) -> None:
    """Bring the image service's database up to date (the embedded one does that by itself)."""
    from pipeline.cli.handlers import catalog

    catalog.upgrade(settings, expand=expand)


@task("service.backup", _SERVICE, help={"file": "where to (default: in the service's folder)", "settings": _SETTINGS})
def service_backup(context: Context, file: str = "", settings: str = "") -> None:
    """Save the image service's catalog in one file, while it runs."""
    from pipeline.cli.handlers import catalog

    catalog.backup(settings, file)


@task("service.restore", _SERVICE, positional=["file"], help={"file": "a backup", "settings": _SETTINGS})
def service_restore(context: Context, file: str = "", settings: str = "") -> None:
    """Fill an empty catalog from a backup, whatever kind of database it was made of."""
    from pipeline.cli.handlers import catalog

    catalog.restore(settings, file)


@task(
    "service.adopt",
    _SERVICE,
    positional=["url"],
    help={
        "url": "the URL of Glance's database",
        "apply": "do it; without, only say what would be done",
        "store": "Glance's id for a store and ours, as old=new (may be repeated)",
        "admin_project": "a project of administrators: its metadata definitions count for all (may be repeated)",
        "settings": _SETTINGS,
    },
    iterable=["store", "admin_project"],
)
def service_adopt(
    context: Context,
    url: str = "",
    apply: bool = False,
    store: list[str] | None = None,
    admin_project: list[str] | None = None,
    settings: str = "",
) -> None:
    """Take over images and metadata definitions of an existing Glance, with their ids."""
    from pipeline.cli.handlers import catalog

    catalog.adopt(settings, url, apply=apply, renamed=store or (), admin_projects=admin_project or ())


@task(
    "service.reconcile",
    _SERVICE,
    help={
        "settings": _SETTINGS,
        "mend": "delete orphans, discard unfinished writes, strike bad copies out (default: only tell)",
        "digests": "read all data and compare its digests",
        "store": "look at this store only",
        "json": "one line of JSON for each difference",
    },
)
def service_reconcile(
    context: Context, settings: str = "", mend: bool = False, digests: bool = False, store: str = "", json: bool = False
) -> None:
    """Compare the image catalog with the stores: orphans, missing data, wrong digests."""
    from pipeline.cli.handlers import imageservice

    imageservice.reconcile(settings, mend=mend, digests=digests, store=store, as_json=json)


@task("service.stores", _SERVICE, help={"settings": _SETTINGS, "json": "as JSON on standard output"})
def service_stores(context: Context, settings: str = "", json: bool = False) -> None:
    """Show the image service's stores: what each holds, whether it is healthy, how much room it has."""
    from pipeline.cli.handlers import stores

    stores.show(settings, as_json=json)


@task(
    "service.migrate",
    _SERVICE,
    help={
        "from": "the store whose images are to go",
        "to": "the store that is to have them",
        "keep": "leave the copies in the old store, too",
        "settings": _SETTINGS,
        "json": "one line of JSON for each image",
    },
)
def service_migrate(
    context: Context, from_: str = "", to: str = "", keep: bool = False, settings: str = "", json: bool = False
) -> None:
    """Move all images from one store to another while the service runs; after a kill, call it again."""
    from pipeline.cli.handlers import stores

    stores.migrate(settings, from_, to, keep=keep, as_json=json)


@task("service.scrub", _SERVICE, help={"settings": _SETTINGS, "restore": "bring this deleted image back instead"})
def service_scrub(context: Context, settings: str = "", restore: str = "") -> None:
    """Remove the data of deleted images whose delay has passed, or bring one back."""
    from pipeline.cli.handlers import imageservice

    imageservice.scrub(settings, restore=restore)


@task(
    "service.metadefs.load",
    _SERVICE,
    positional=["path"],
    help={
        "path": "a definition file, or a folder of them (default: the catalogue that comes with the service)",
        "merge": "add to namespaces that exist what they miss; without, they are skipped",
        "prefer-new": "with --merge: what the file says replaces what is there",
        "overwrite": "with --merge: a namespace becomes what the file (or the catalogue) says, and nothing else",
        "settings": _SETTINGS,
    },
)
def service_metadefs_load(
    context: Context,
    path: str = "",
    merge: bool = False,
    prefer_new: bool = False,
    overwrite: bool = False,
    settings: str = "",
) -> None:
    """Load metadata definitions into the image service's catalog; Glance's files are read as they are."""
    from pipeline.cli.handlers import metadefs

    metadefs.load(settings, path, merge=merge, prefer_new=prefer_new, overwrite=overwrite)


@task(
    "service.metadefs.export",
    _SERVICE,
    positional=["folder"],
    help={"folder": "a new folder", "settings": _SETTINGS},
)
def service_metadefs_export(context: Context, folder: str = "", settings: str = "") -> None:
    """Write all metadata definitions into a folder, a file for each namespace."""
    from pipeline.cli.handlers import metadefs

    metadefs.export(settings, folder)


@task("service.metadefs.unload", _SERVICE, help={"settings": _SETTINGS})
def service_metadefs_unload(context: Context, settings: str = "") -> None:
    """Delete all metadata definitions, protected ones too."""
    from pipeline.cli.handlers import metadefs

    metadefs.unload(settings)
