"""Declare the tasks that build, and that look after what was built."""

from __future__ import annotations

from invoke.context import Context

from pipeline.cli.task import task

_BUILD = "Build"
_SET = "a recipe's variable as name=value (may be repeated)"
_JSON = "as JSON on standard output"
_SOURCE = "a file to install from, instead of what the recipe would fetch"


@task(
    "build",
    _BUILD,
    positional=["recipes"],
    help={
        "recipes": "names of recipes",
        "set": _SET,
        "source": _SOURCE,
        "engine": "what runs an installer: virt-install or qemu",
        "json": "every event as a line of JSON",
        "ci": "in groups, as GitHub, GitLab and plain logs show them",
        "keep": "set the disk of a failed step aside, and say how to look into it",
        "jobs": "at most so many steps at once",
        "guests": "at most so many guests at once",
        "locked": "from what is locked, without a look at mirrors",
        "offline": "as locked, and no step touches the network",
    },
    iterable=["recipes", "set"],
)
def build(
    context: Context,
    recipes: list[str] | None = None,
    set: list[str] | None = None,
    source: str = "",
    engine: str = "",
    json: bool = False,
    ci: bool = False,
    keep: bool = False,
    jobs: int = 0,
    guests: int = 0,
    locked: bool = False,
    offline: bool = False,
) -> None:
    """Build recipes, as far as they have changed: install, customise, convert, boot, sign."""
    from pipeline.cli.handlers import build as build_handler

    build_handler.build(
        recipes or (),
        set or (),
        source=source,
        engine=engine,
        as_json=json,
        ci=ci,
        keep=keep,
        jobs=jobs,
        guests=guests,
        locked=locked,
        offline=offline,
    )


@task(
    "plan",
    _BUILD,
    positional=["recipes"],
    help={
        "recipes": "names of recipes (default: those of the nightly run)",
        "set": _SET,
        "source": _SOURCE,
        "cloud": "also say which of their properties this cloud does not know, or defines otherwise",
        "json": _JSON,
        "graph": "also draw it, into this SVG file",
    },
    iterable=["recipes", "set"],
)
def plan(
    context: Context,
    recipes: list[str] | None = None,
    set: list[str] | None = None,
    source: str = "",
    cloud: str = "",
    json: bool = False,
    graph: str = "",
) -> None:
    """Show what a build would do, why, and how long it would take."""
    from pipeline.cli.handlers import build as build_handler

    build_handler.plan(recipes or (), set or (), source=source, cloud=cloud, as_json=json, graph=graph)


@task(
    "lock",
    _BUILD,
    positional=["recipes"],
    help={"recipes": "names of recipes (default: those of the nightly run)", "set": _SET},
    iterable=["recipes", "set"],
)
def lock(context: Context, recipes: list[str] | None = None, set: list[str] | None = None) -> None:
    """Look at what recipes take from outside (repositories, media), and lock them to it."""
    from pipeline.cli.handlers import build as build_handler

    build_handler.lock(recipes or (), set or ())


@task("schema", _BUILD)
def schema(context: Context) -> None:
    """Write anew what is made of models and vocabulary: schemas, references, the catalogue of definitions."""
    from pipeline.base.home import CHECKOUT
    from pipeline.imageservice import settings_reference
    from pipeline.recipes.docs import derived

    for path in [*derived.refresh(CHECKOUT), *settings_reference.refresh(CHECKOUT / "docs")]:
        print(f"wrote {path.relative_to(CHECKOUT)}")


@task(
    "explain", _BUILD, help={"one": "an image file, or a recipe that was built here", "other": "another", "json": _JSON}
)
def explain(context: Context, one: str, other: str, json: bool = False) -> None:
    """Say what is different in two images, and what was different in how they were made."""
    from pipeline.cli.handlers import explain as explaining

    explaining.explain(one, other, as_json=json)


@task("runs", _BUILD, help={"count": "how many", "json": _JSON})
def runs(context: Context, count: int = 20, json: bool = False) -> None:
    """List the newest runs and how they ended."""
    from pipeline.cli.handlers import history

    history.runs(count=count, as_json=json)


@task("show", _BUILD, positional=["run"], help={"run": "a run's id, or the beginning of it, or 'last'", "json": _JSON})
def show(context: Context, run: str = "last", json: bool = False) -> None:
    """Show one run: its steps, its products, what failed and where the evidence is."""
    from pipeline.cli.handlers import history

    history.show(run, as_json=json)


@task(
    "logs",
    _BUILD,
    positional=["run", "step"],
    help={"run": "a run's id, or 'last'", "step": "boot, or tiny/boot", "follow": "go on as long as the run lasts"},
)
def logs(context: Context, run: str = "last", step: str = "", follow: bool = False) -> None:
    """Print the log of a step, or list a run's logs."""
    from pipeline.cli.handlers import history

    history.logs(run, step, follow=follow)


@task("reap", _BUILD)
def reap(context: Context) -> None:
    """Remove guests, mounts and files that killed runs left; nothing else is touched."""
    from pipeline.cli.handlers import history

    history.reap()


@task("cache.show", _BUILD, help={"json": _JSON})
def cache_show(context: Context, json: bool = False) -> None:
    """Show how much the cache holds of what."""
    from pipeline.cli.handlers import cache

    cache.show(as_json=json)


@task(
    "cache.gc",
    _BUILD,
    help={
        "size": "how large it may stay, such as 20GiB (default: PIPELINE_CACHE_SIZE, or 50GiB)",
        "kept": "also the disks of failed steps that were kept",
        "all": "everything that no build uses now",
    },
)
def cache_gc(context: Context, size: str = "", kept: bool = False, all: bool = False) -> None:
    """Remove from the cache what nothing needs, and what was not used for longest."""
    from pipeline.cli.handlers import cache

    cache.collect(size, kept=kept, everything=all)


@task("cache.verify", _BUILD, help={"repair": "remove what is damaged, so that it is made again"})
def cache_verify(context: Context, repair: bool = False) -> None:
    """Read the whole cache and compare every byte with its digest."""
    from pipeline.cli.handlers import cache

    cache.verify(repair=repair)


@task(
    "cache.export",
    _BUILD,
    positional=["to", "recipes"],
    help={"to": "a .tar or .tar.gz file", "recipes": "names of recipes (default: those of the nightly run)"},
    iterable=["recipes"],
)
def cache_export(context: Context, to: str, recipes: list[str] | None = None) -> None:
    """Write what builds of these recipes would reuse to a file, for a runner that starts empty."""
    from pipeline.cli.handlers import cache

    cache.export_archive(recipes or (), to)


@task("cache.import", _BUILD, help={"source": "what cache.export wrote"})
def cache_import(context: Context, source: str) -> None:
    """Take over an exported cache, checking every byte."""
    from pipeline.cli.handlers import cache

    cache.import_archive(source)
