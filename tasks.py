"""The tasks of ``./inv``: each a few lines that read the command line and call the room that does the work.

``./inv --list`` prints them as a tour, in this file's order. What takes long to import is imported within a task.
"""

from __future__ import annotations

from invoke.context import Context

from pipeline.base.home import Home
from pipeline.face.task import namespace as _namespace
from pipeline.face.task import task

# --- Build ------------------------------------------------------------------------------------------------------------

_BUILD = "Build"
_SET = "a recipe's variable as name=value (may be repeated)"
_JSON = "as JSON on standard output"


@task(
    "build",
    _BUILD,
    positional=["recipes"],
    help={
        "recipes": "names of recipes",
        "set": _SET,
        "source": "a file to install from, instead of what the recipe would fetch",
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
    from pipeline.face import building

    building.build(
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
        "json": _JSON,
        "graph": "also draw it, into this SVG file",
    },
    iterable=["recipes", "set"],
)
def plan(
    context: Context,
    recipes: list[str] | None = None,
    set: list[str] | None = None,
    json: bool = False,
    graph: str = "",
) -> None:
    """Show what a build would do, why, and how long it would take."""
    from pipeline.face import building

    building.plan(recipes or (), set or (), as_json=json, graph=graph)


@task(
    "lock",
    _BUILD,
    positional=["recipes"],
    help={"recipes": "names of recipes (default: those of the nightly run)", "set": _SET},
    iterable=["recipes", "set"],
)
def lock(context: Context, recipes: list[str] | None = None, set: list[str] | None = None) -> None:
    """Look at what recipes take from outside (repositories, media), and lock them to it."""
    from pipeline.face import building

    building.lock(recipes or (), set or ())


@task("schema", _BUILD)
def schema(context: Context) -> None:
    """Write the recipes' JSON Schemas, their reference and that of the image service's settings anew."""
    from pipeline.base.home import CHECKOUT
    from pipeline.imageservice import settings_reference
    from pipeline.recipes import derived

    for path in [*derived.refresh(CHECKOUT), *settings_reference.refresh(CHECKOUT / "docs")]:
        print(f"wrote {path.relative_to(CHECKOUT)}")


@task(
    "explain", _BUILD, help={"one": "an image file, or a recipe that was built here", "other": "another", "json": _JSON}
)
def explain(context: Context, one: str, other: str, json: bool = False) -> None:
    """Say what is different in two images, and what was different in how they were made."""
    from pipeline.face import explain as explaining

    explaining.explain(one, other, as_json=json)


@task("runs", _BUILD, help={"count": "how many", "json": _JSON})
def runs(context: Context, count: int = 20, json: bool = False) -> None:
    """List the newest runs and how they ended."""
    from pipeline.face import history

    history.runs(count=count, as_json=json)


@task("show", _BUILD, positional=["run"], help={"run": "a run's id, or the beginning of it, or 'last'", "json": _JSON})
def show(context: Context, run: str = "last", json: bool = False) -> None:
    """Show one run: its steps, its products, what failed and where the evidence is."""
    from pipeline.face import history

    history.show(run, as_json=json)


@task(
    "logs",
    _BUILD,
    positional=["run", "step"],
    help={"run": "a run's id, or 'last'", "step": "boot, or tiny/boot", "follow": "go on as long as the run lasts"},
)
def logs(context: Context, run: str = "last", step: str = "", follow: bool = False) -> None:
    """Print the log of a step, or list a run's logs."""
    from pipeline.face import history

    history.logs(run, step, follow=follow)


@task("reap", _BUILD)
def reap(context: Context) -> None:
    """Remove guests, mounts and files that killed runs left; nothing else is touched."""
    from pipeline.face import history

    history.reap()


@task("cache.show", _BUILD, help={"json": _JSON})
def cache_show(context: Context, json: bool = False) -> None:
    """Show how much the cache holds of what."""
    from pipeline.face import cache

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
    from pipeline.face import cache

    cache.collect(size, kept=kept, everything=all)


@task("cache.verify", _BUILD, help={"repair": "remove what is damaged, so that it is made again"})
def cache_verify(context: Context, repair: bool = False) -> None:
    """Read the whole cache and compare every byte with its digest."""
    from pipeline.face import cache

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
    from pipeline.face import cache

    cache.export(recipes or (), to)


@task("cache.import", _BUILD, help={"source": "what cache.export wrote"})
def cache_import(context: Context, source: str) -> None:
    """Take over an exported cache, checking every byte."""
    from pipeline.face import cache

    cache.bring(source)


# --- Publish ----------------------------------------------------------------------------------------------------------

_PUBLISH = "Publish"
_CLOUD = "a cloud of clouds.yaml (default: those of recipes/nightly.yaml)"


@task(
    "publish",
    _PUBLISH,
    positional=["recipes"],
    help={
        "recipes": "names of recipes",
        "set": "a variable of the recipes, as name=value (may be repeated)",
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
    from pipeline.face import publishing
    from pipeline.publishing.delivery import Choice

    choice = Choice(let_through=let_through, again=again, method=publishing.chosen_method(import_))
    stores = publishing.all_or(stores, all_stores=all_stores)
    publishing.publish(recipes or (), set or (), cloud=cloud, stores=stores, plan=plan, choice=choice, ci=ci)


@task(
    "nightly",
    _PUBLISH,
    help={"ci": "group the output as CI systems do", "locked": "from what is locked, without a look at mirrors"},
)
def nightly(context: Context, ci: bool = False, locked: bool = False) -> None:
    """Build, boot, sign, publish and verify everything in recipes/nightly.yaml."""
    from pipeline.face import publishing

    publishing.run_nightly(ci=ci, locked=locked)


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
        "plan": "only say what would be created, changed, hidden and renamed, and why",
        "unsigned": "do not sign the files",
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
    plan: bool = False,
    unsigned: bool = False,
    cloud: str = "",
    stores: str = "",
) -> None:
    """Publish images made elsewhere: a disk, alone or with its kernel and ramdisk."""
    from pathlib import Path

    from pipeline.face import publishing
    from pipeline.publishing.marks import Part

    named = {Part.DISK: disk, Part.KERNEL: kernel, Part.RAMDISK: ramdisk}
    files = publishing.files_in(Path(folder), name) if folder else {}
    files.update({part: Path(file) for part, file in named.items() if file})
    publishing.upload(
        name,
        files,
        cloud=cloud,
        stores=stores,
        visibility=visibility,
        properties=property or (),
        unsigned=unsigned,
        update_existing=update_existing,
        plan=plan,
    )


@task("images", _PUBLISH, help={"cloud": _CLOUD, "json": "as JSON on standard output"})
def images(context: Context, cloud: str = "", json: bool = False) -> None:
    """List what is published where: state, age, digest, signature, stores."""
    from pipeline.face import images

    images.images(cloud, as_json=json)


@task("why", _PUBLISH, help={"image": "its id or name", "cloud": _CLOUD, "json": "as JSON on standard output"})
def why(context: Context, image: str, cloud: str = "", json: bool = False) -> None:
    """Tell why an image is there, shown, hidden or held back, and what was done to it."""
    from pipeline.face import images

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
    from pipeline.face import images

    images.rotate(recipes or (), cloud, plan=plan, yes=yes)


@task("withdraw", _PUBLISH, help={"recipe": "its name", "why": "the reason, for the journal", "cloud": _CLOUD})
def withdraw(context: Context, recipe: str, why: str = "", cloud: str = "") -> None:
    """Take the newest image of a recipe back; the one before it is the newest again."""
    from pipeline.face import images

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
    from pipeline.face import publishing

    publishing.report(run, open_it=open, markdown=markdown)


# --- Image service ----------------------------------------------------------------------------------------------------

_SERVICE = "Image service"
_SETTINGS = "the settings file (default: settings.yaml in the service's folder)"


@task("serve", _SERVICE, help={"settings": _SETTINGS})
def serve(context: Context, settings: str = "") -> None:
    """Run the image service in the foreground, until Ctrl-C."""
    from pipeline.face import imageservice

    imageservice.serve(settings)


@task("service.start", _SERVICE, help={"settings": _SETTINGS})
def service_start(context: Context, settings: str = "") -> None:
    """Start the image service in the background, and wait until it answers."""
    from pipeline.face import imageservice

    imageservice.start(settings)


@task("service.stop", _SERVICE, help={"settings": _SETTINGS, "now": "cut off running uploads and downloads"})
def service_stop(context: Context, settings: str = "", now: bool = False) -> None:
    """Stop the image service in the background; running uploads end first."""
    from pipeline.face import imageservice

    imageservice.stop(settings, now=now)


@task("service.status", _SERVICE, help={"settings": _SETTINGS, "json": "as JSON on standard output"})
def service_status(context: Context, settings: str = "", json: bool = False) -> None:
    """Tell whether the image service runs, where it listens, and how to reach it."""
    from pipeline.face import imageservice

    imageservice.status(settings, as_json=json)


@task("service.db-upgrade", _SERVICE, help={"settings": _SETTINGS, "expand": "only what older versions can live with"})
def service_db_upgrade(context: Context, settings: str = "", expand: bool = False) -> None:
    """Bring the image service's database up to date (the embedded one does that by itself)."""
    from pipeline.face import catalog

    catalog.upgrade(settings, expand=expand)


@task("service.backup", _SERVICE, help={"file": "where to (default: in the service's folder)", "settings": _SETTINGS})
def service_backup(context: Context, file: str = "", settings: str = "") -> None:
    """Save the image service's catalog in one file, while it runs."""
    from pipeline.face import catalog

    catalog.backup(settings, file)


@task("service.restore", _SERVICE, positional=["file"], help={"file": "a backup", "settings": _SETTINGS})
def service_restore(context: Context, file: str = "", settings: str = "") -> None:
    """Fill an empty catalog from a backup, whatever kind of database it was made of."""
    from pipeline.face import catalog

    catalog.restore(settings, file)


@task(
    "service.adopt",
    _SERVICE,
    positional=["url"],
    help={
        "url": "the URL of Glance's database",
        "apply": "do it; without, only say what would be done",
        "store": "Glance's id for a store and ours, as old=new (may be repeated)",
        "settings": _SETTINGS,
    },
    iterable=["store"],
)
def service_adopt(
    context: Context, url: str = "", apply: bool = False, store: list[str] | None = None, settings: str = ""
) -> None:
    """Take over the images of an existing Glance: ids, properties, members, tags, locations."""
    from pipeline.face import catalog

    catalog.adopt(settings, url, apply=apply, renamed=store or ())


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
    from pipeline.face import imageservice

    imageservice.reconcile(settings, mend=mend, digests=digests, store=store, as_json=json)


@task("service.stores", _SERVICE, help={"settings": _SETTINGS, "json": "as JSON on standard output"})
def service_stores(context: Context, settings: str = "", json: bool = False) -> None:
    """Show the image service's stores: what each holds, whether it is healthy, how much room it has."""
    from pipeline.face import stores

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
    from pipeline.face import stores

    stores.migrate(settings, from_, to, keep=keep, as_json=json)


@task("service.scrub", _SERVICE, help={"settings": _SETTINGS, "restore": "bring this deleted image back instead"})
def service_scrub(context: Context, settings: str = "", restore: str = "") -> None:
    """Remove the data of deleted images whose delay has passed, or bring one back."""
    from pipeline.face import imageservice

    imageservice.scrub(settings, restore=restore)


# --- Keys and proofs --------------------------------------------------------------------------------------------------

_KEYS = "Keys and proofs"


@task("keys.list", _KEYS, help={"json": "as JSON on standard output"})
def keys_list(context: Context, json: bool = False) -> None:
    """Show the signing keys, what became of them, and until when their certificates are valid."""
    from pipeline.face import keys

    keys.show(Home.default(), as_json=json)


@task(
    "keys.new",
    _KEYS,
    help={
        "name": "what to call it",
        "kind": "p384, p521, rsa2048, rsa3072, rsa4096; p256 and ed25519 for attestations only",
        "protect": "encrypt it with a passphrase (asked for, or from PIPELINE_KEY_PASSPHRASE_FILE)",
    },
)
def keys_new(context: Context, name: str, kind: str = "p384", protect: bool = False) -> None:
    """Make a signing key and its certificate."""
    from pipeline.face import keys

    keys.new(Home.default(), name, kind, protect=protect)


@task("keys.import", _KEYS, help={"name": "what to call it", "source": "a private key in PEM, or a pkcs11: URI"})
def keys_import(context: Context, name: str, source: str) -> None:
    """Use a key that exists already: a PEM file, or one that a hardware token keeps."""
    from pipeline.face import keys

    keys.bring(Home.default(), name, source)


@task("keys.rotate", _KEYS, help={"name": "the key", "kind": "another kind than before"})
def keys_rotate(context: Context, name: str, kind: str = "") -> None:
    """Make a new generation of a key; what the old one signed stays trusted."""
    from pipeline.face import keys

    keys.rotate(Home.default(), name, kind or None)


@task(
    "keys.revoke",
    _KEYS,
    help={"name": "the key", "reason": "why; whoever verifies is told", "generation": "only this one (default: all)"},
)
def keys_revoke(context: Context, name: str, reason: str = "", generation: int = 0) -> None:
    """Withdraw trust from a key: nothing it signed counts any more."""
    from pipeline.face import keys

    keys.revoke(Home.default(), name, reason, generation or None)


@task("keys.request", _KEYS, help={"name": "the key"})
def keys_request(context: Context, name: str) -> None:
    """Print a request for a certificate from another authority than the local one."""
    from pipeline.face import keys

    keys.request(Home.default(), name)


@task("keys.certify", _KEYS, help={"name": "the key", "chain": "PEM file: its certificate, then the issuers'"})
def keys_certify(context: Context, name: str, chain: str) -> None:
    """Use the certificate that another authority issued for a key."""
    from pipeline.face import keys

    keys.certify(Home.default(), name, chain)


@task(
    "verify",
    _KEYS,
    help={
        "target": "an image's name or id in a cloud, or a file, or a folder of downloaded images",
        "cloud": "the cloud that has the image (default: the bundled service)",
        "policy": "a YAML file that says what is required",
        "trust": "a trust root from ./inv keys.trust (default: this installation's own keys)",
        "json": "the verdicts as JSON on standard output",
    },
)
def verify(
    context: Context, target: str, cloud: str = "", policy: str = "", trust: str = "", json: bool = False
) -> None:
    """Check an image with its whole proof: digests, signature, certificate, attestations, bill of materials."""
    from pipeline.face import verifying

    verifying.run(Home.default(), target, cloud=cloud, policy=policy, trust=trust, as_json=json)


@task(
    "sign",
    _KEYS,
    help={
        "folder": "what ./inv build made, on this machine or another",
        "key": "the signing key",
        "hash": "the digest that is signed",
        "attest": "another key for the attestations, which may be p256 or ed25519",
        "bundle": "also write sigstore bundles, with this P-256 key (made if there is none)",
    },
)
def sign(
    context: Context, folder: str, key: str = "default", hash: str = "SHA-256", attest: str = "", bundle: str = ""
) -> None:
    """Sign a folder of images that was built elsewhere; every digest is computed anew."""
    from pipeline.face import sealing

    sealing.run(Home.default(), folder, sealing.Keys(key, attest, bundle), method=hash)


@task("keys.trust", _KEYS, help={"file": "where to write it"})
def keys_trust(context: Context, file: str) -> None:
    """Write the trust root that verifies offline elsewhere: public keys, authorities, revocations."""
    from pipeline.face import verifying

    verifying.export_trust(Home.default(), file)


@task("keys.publish", _KEYS, help={"name": "the key", "cloud": "the cloud whose key manager (Barbican) keeps it"})
def keys_publish(context: Context, name: str, cloud: str) -> None:
    """Put a key's certificate where Nova and Glance fetch it, and sign with the id it has there."""
    from pipeline.face import keys

    keys.publish(Home.default(), name, cloud)


@task("keys.export", _KEYS, help={"name": "the key", "to": "a file (default: standard output)"})
def keys_export(context: Context, name: str, to: str = "") -> None:
    """Write the certificates that verify what a key signed; nothing in them is secret."""
    from pipeline.face import keys

    keys.export(Home.default(), name, to or None)


# --- This machine and this code ---------------------------------------------------------------------------------------

_HOUSE = "This machine and this code"


@task("doctor", _HOUSE, help={"json": "the findings as JSON on standard output"})
def doctor(context: Context, json: bool = False) -> None:
    """Check everything a build needs on this machine, and say how to mend what is missing."""
    from pipeline.face import checkup

    checkup.run(Home.default(), as_json=json)


@task(
    "test",
    _HOUSE,
    help={
        "fast": "only what takes a moment: no guests, no servers",
        "all": "also the long ones",
        "soak": "only those that run for hours",
        "shard": "one part of the tests, as I/N: 2/3 is the second of three",
        "only": "a folder, file or test, as pytest names it (may be repeated)",
    },
    iterable=["only"],
)
def test(
    context: Context,
    only: list[str] | None = None,
    fast: bool = False,
    all: bool = False,
    soak: bool = False,
    shard: str = "",
) -> None:
    """Run the tests of this code."""
    from pipeline.face import checks

    checks.test(fast=fast, everything=all, soak=soak, shard=shard, only=only or ())


@task("lint", _HOUSE)
def lint(context: Context) -> None:
    """Check style, types, shell scripts and the house's floors."""
    from pipeline.face import checks

    checks.lint()


# The last line: collects every task above.
namespace = _namespace()
