"""Declare the tasks that publish images, and that look after what is published."""

from __future__ import annotations

from invoke.context import Context

from pipeline.cli.task import task

_PUBLISH = "Publish"
_CLOUD = "a cloud of clouds.yaml (default: those of recipes/nightly.yaml)"


@task(
    "publish",
    _PUBLISH,
    positional=["recipes"],
    help={
        "recipes": "names of recipes",
        "set": "a variable of the recipes, as name=value (may be repeated)",
        "source": "the file they were built from, where that was given to build with --source",
        "cloud": _CLOUD,
        "stores": "stores to put the images in, separated by commas, or all",
        "all-stores": "as --stores all",
        "import": "have the cloud import them, by glance-direct or by web-download from this machine",
        "plan": "only say what would be created, changed, hidden and renamed, and why",
        "let-through": "show images that a gate has held back",
        "again": "publish images that were taken back with ./inv withdraw",
        "ci": "group the output as CI systems do",
    },
    iterable=["recipes", "set"],
)
def publish(
    context: Context,
    recipes: list[str] | None = None,
    set: list[str] | None = None,
    source: str = "",
    cloud: str = "",
    stores: str = "",
    all_stores: bool = False,
    import_: str = "",
    plan: bool = False,
    let_through: bool = False,
    again: bool = False,
    ci: bool = False,
) -> None:
    """Build what has changed and publish it: uploaded hidden, read back, then shown in one step."""
    from pipeline.cli.handlers import publish as publish_handler
    from pipeline.publishing.plan.plan import PublishOptions

    options = PublishOptions(let_through=let_through, again=again, method=publish_handler.chosen_method(import_))
    stores = publish_handler.all_or(stores, all_stores=all_stores)
    publish_handler.publish(
        recipes or (), set or (), source=source, cloud=cloud, stores=stores, plan=plan, options=options, ci=ci
    )


@task(
    "nightly",
    _PUBLISH,
    help={"ci": "group the output as CI systems do", "locked": "from what is locked, without a look at mirrors"},
)
def nightly(context: Context, ci: bool = False, locked: bool = False) -> None:
    """Build, boot, sign, publish and verify everything in recipes/nightly.yaml."""
    from pipeline.cli.handlers import publish as publish_handler

    publish_handler.run_nightly(ci=ci, locked=locked)


@task(
    "upload",
    _PUBLISH,
    help={
        "name": "what the image is called in the cloud",
        "disk": "the disk's file",
        "kernel": "its kernel, published as NAME-vmlinuz and linked to the disk",
        "ramdisk": "its ramdisk, published as NAME-initrd and linked to the disk",
        "folder": "a folder with NAME.qcow2 (or .raw) and, if it has them, NAME.vmlinuz and NAME.initrd",
        "property": "an image property, as name=value (may be repeated)",
        "visibility": "private, shared, community or public",
        "update-existing": "take the place of images of this name that hold other bytes",
        "again": "publish images that were taken back with ./inv withdraw",
        "plan": "only say what would be created, changed, hidden and renamed, and why",
        "unsigned": "do not sign the files",
        "unpack": "take the disk out of a compressed file or an archive (gzip, xz, zstd, bzip2, zip, tar, OVA) first",
        "cloud": _CLOUD,
        "stores": "stores to put the images in, separated by commas, or all",
    },
    iterable=["property"],
)
def upload(
    context: Context,
    name: str,
    disk: str = "",
    kernel: str = "",
    ramdisk: str = "",
    folder: str = "",
    property: list[str] | None = None,
    visibility: str = "private",
    update_existing: bool = False,
    again: bool = False,
    plan: bool = False,
    unsigned: bool = False,
    unpack: bool = False,
    cloud: str = "",
    stores: str = "",
) -> None:
    """Publish images made elsewhere: a disk, alone or with its kernel and ramdisk."""
    from pathlib import Path

    from pipeline.cli.handlers import publish as publish_handler
    from pipeline.publishing.cloud.ownership_marker import ImagePart

    named = {ImagePart.DISK: disk, ImagePart.KERNEL: kernel, ImagePart.RAMDISK: ramdisk}
    files = publish_handler.files_in(Path(folder), name) if folder else {}
    files.update({part: Path(file) for part, file in named.items() if file})
    publish_handler.upload(
        name,
        files,
        cloud=cloud,
        stores=stores,
        visibility=visibility,
        properties=property or (),
        unsigned=unsigned,
        update_existing=update_existing,
        again=again,
        plan=plan,
        unpack=unpack,
    )


@task("images", _PUBLISH, help={"cloud": _CLOUD, "json": "as JSON on standard output"})
def images(context: Context, cloud: str = "", json: bool = False) -> None:
    """List what is published where: state, age, digest, signature, stores."""
    from pipeline.cli.handlers import images

    images.images(cloud, as_json=json)


@task("why", _PUBLISH, help={"image": "its id or name", "cloud": _CLOUD, "json": "as JSON on standard output"})
def why(context: Context, image: str, cloud: str = "", json: bool = False) -> None:
    """Tell why an image is there, shown, hidden or held back, and what was done to it."""
    from pipeline.cli.handlers import images

    images.why(image, cloud, as_json=json)


@task(
    "rotate",
    _PUBLISH,
    positional=["recipes"],
    help={
        "recipes": "names of recipes (default: those of recipes/nightly.yaml)",
        "cloud": _CLOUD,
        "plan": "only say what would be deleted, and why the others stay",
        "yes": "delete",
    },
    iterable=["recipes"],
)
def rotate(
    context: Context, recipes: list[str] | None = None, cloud: str = "", plan: bool = False, yes: bool = False
) -> None:
    """Delete previous images that retention no longer keeps."""
    from pipeline.cli.handlers import images

    images.rotate(recipes or (), cloud, plan=plan, yes=yes)


@task(
    "takeover",
    _PUBLISH,
    help={
        "owner": "the id of a project that was yours (default: show images of all other projects with our marks)",
        "cloud": _CLOUD,
        "yes": "make the images of --owner yours, as an administrator",
    },
)
def takeover(context: Context, owner: str = "", cloud: str = "", yes: bool = False) -> None:
    """Show images with our marks that belong to other projects, or take over those of a former one."""
    from pipeline.cli.handlers import images

    images.takeover(owner, cloud, yes=yes)


@task(
    "withdraw",
    _PUBLISH,
    help={"recipe": "the recipe, or the name of an upload", "why": "the reason, for the journal", "cloud": _CLOUD},
)
def withdraw(context: Context, recipe: str, why: str = "", cloud: str = "") -> None:
    """Take the newest image of a recipe or an upload back; the one before it is the newest again."""
    from pipeline.cli.handlers import images

    images.withdraw(recipe, why, cloud)


@task(
    "report",
    _PUBLISH,
    positional=["run"],
    help={
        "run": "a nightly run (default: the newest)",
        "open": "show it in a browser",
        "markdown": "print it as text",
    },
)
def report(context: Context, run: str = "", open: bool = False, markdown: bool = False) -> None:
    """Say where the report of a nightly run lies, or show it."""
    from pipeline.cli.handlers import publish as publish_handler

    publish_handler.report(run, open_it=open, markdown=markdown)
