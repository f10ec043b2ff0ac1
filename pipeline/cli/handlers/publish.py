"""Carry out ``./inv publish`` and ``./inv nightly``: from recipes to clouds, and how it ended."""

from __future__ import annotations

import contextlib
import re
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.text import Text

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.terminal import SafeConsole
from pipeline.cli import results, task
from pipeline.cli.handlers import build as build_handler
from pipeline.cli.task import Exit
from pipeline.engine.build import build as build_all
from pipeline.engine.monitors.choice import choose
from pipeline.engine.run.options import BuildOptions
from pipeline.publishing import nightly, publish_many, publish_one
from pipeline.publishing.cloud.ownership_marker import ImagePart
from pipeline.publishing.cloud.stores import ALL
from pipeline.publishing.plan import name_conflicts
from pipeline.publishing.plan.clock import Clock
from pipeline.publishing.plan.plan import METHODS, PublishOptions
from pipeline.publishing.publish_one import Preview, PublishResult
from pipeline.publishing.report import files as reports
from pipeline.publishing.report import messages, terminal
from pipeline.publishing.retention.rotation import deletes
from pipeline.publishing.rotate import rotate_all
from pipeline.publishing.sender import Sender
from pipeline.publishing.sources import build as build_source
from pipeline.publishing.sources.files import ReadyFiles
from pipeline.publishing.sources.unpacked import unpacked
from pipeline.publishing.transaction.transaction import PublishOutcome
from pipeline.recipes.model.product import Visibility
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.nightly import Nightly, Target
from pipeline.signing.keys.keyring import Keyring

_ENDINGS = {ImagePart.DISK: ("qcow2", "raw"), ImagePart.KERNEL: ("vmlinuz",), ImagePart.RAMDISK: ("initrd",)}
SETTINGS = build_handler.RECIPES / "nightly.yaml"


def publish(
    names: Sequence[str],
    settings: Sequence[str] = (),
    *,
    source: str = "",
    cloud: str = "",
    stores: str = "",
    plan: bool = False,
    options: PublishOptions | None = None,
    ci: bool = False,
) -> None:
    """Build what has changed of the recipes ``names`` and publish them; end with status 1 when something failed.

    With ``plan``, only say what would be done.
    """
    recipes = build_handler.load(names, settings, source)
    name_conflicts.require_distinct(recipes)
    targets = chosen_targets(cloud, stores)
    home = Home.default()
    nightly.prepare(home, targets)
    if plan:
        _plan(recipes, targets, sender(home), options)
        return
    monitors = (choose(ci=ci),)
    builds = build_all(recipes, BuildOptions(home=home, monitors=monitors))
    who = sender(home)
    publish_results = publish_many.publish_all(builds, targets, who, monitors=monitors, options=options)
    if Nightly.load(SETTINGS).delete_old and all(each.outcome.is_good for each in publish_results):
        terminal.show_rotations(rotate_all(recipes, [target.cloud for target in targets], who, delete=True), brief=True)
    _print_results(publish_results)


def upload(
    name: str,
    files: Mapping[ImagePart, Path],
    *,
    cloud: str = "",
    stores: str = "",
    visibility: str = "private",
    properties: Sequence[str] = (),
    unsigned: bool = False,
    update_existing: bool = False,
    again: bool = False,
    plan: bool = False,
    unpack: bool = False,
    ci: bool = False,
) -> None:
    """Publish files that were made elsewhere; what exists with other bytes stays unless ``update_existing``.

    ``again``: even bytes that were taken back. With ``plan``, only say what would be done. With ``unpack``, the disk
    may be packed.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}", name):
        raise PipelineError(f"{name[:80]!r} is not a name for an image", hint="letters, digits and ._-")
    if visibility not in set(Visibility):
        raise PipelineError(f"--visibility {visibility}: it is one of {', '.join(Visibility)}")
    given = dict(each.split("=", 1) for each in properties if "=" in each)
    if len(given) < len(properties):
        raise PipelineError("--property: write each as name=value, each name once")
    home = Home.default()
    targets = chosen_targets(cloud, stores)
    nightly.prepare(home, targets)
    who = sender(home)
    signer = None if unsigned else Keyring(home).signer("default")
    with contextlib.ExitStack() as stack:
        if unpack:
            files, found = stack.enter_context(unpacked(home, files))
            if found is not None:
                print(f"{name}: {found.summary}")
        ready = ReadyFiles(home, name, files, given, visibility, signer=signer)
        source = ready.source(who.publisher, who.now)
        options = PublishOptions(only_new=not (update_existing or again), again=again)
        if plan:
            previews = [publish_one.preview(source, target, who, options) for target in targets]
            terminal.show_previews(previews)
            if any(each.error is not None for each in previews):
                raise SystemExit(Exit.FAILED)
            return
        publish_results = publish_many.publish_to_all(source, targets, who, monitors=(choose(ci=ci),), options=options)
        _print_results(publish_results)
        if any(each.outcome is PublishOutcome.LEFT_ALONE for each in publish_results):
            print(f"other images named {name} exist already and were left alone; --update-existing takes their place")


def files_in(folder: Path, name: str) -> dict[ImagePart, Path]:
    """Return the disk, kernel and ramdisk of image ``name`` in a folder, by the names that image builders give them."""
    found = {}
    for part, endings in _ENDINGS.items():
        there = [folder / f"{name}.{ending}" for ending in endings if (folder / f"{name}.{ending}").is_file()]
        if len(there) > 1:
            raise PipelineError(
                f"{folder} has several: {', '.join(path.name for path in there)}", hint="name the files"
            )
        if there:
            found[part] = there[0]
    if ImagePart.DISK not in found:
        raise PipelineError(f"there is no disk of {name} in {folder}", hint=f"it would be {name}.qcow2 or {name}.raw")
    return found


def run_nightly(*, ci: bool = False, locked: bool = False) -> None:
    """Build and publish what ``recipes/nightly.yaml`` lists; end with status 1 when something failed.

    First it looks at everything the recipes take from outside, so that updates arrive; not if ``locked``.
    """
    settings = Nightly.load(SETTINGS)
    recipes = build_handler.load(settings.recipes)
    name_conflicts.require_distinct(recipes)
    options = BuildOptions(monitors=(choose(ci=ci),), fresh=not locked, locked=locked)
    night = nightly.run(recipes, settings, options)
    results.write(night, options.home)
    folder, report = reports.write(night, options.home, keep=settings.report.keep)
    terminal.show(night.publish_results)
    console = SafeConsole()
    for note in night.notes:
        console.print(Text(note, style="yellow"))
    for rotation in night.rotations:
        if rotation.error is not None:
            task.show(rotation.error)
    for error in messages.send(settings.report, report, (folder / "index.html").read_text()):
        task.show(error)
    if night.changed_nothing:
        console.print("nothing has changed since the last run: nothing was published", style="bold green")
    console.print(f"report: {folder / 'index.html'}", soft_wrap=True)
    if not night.is_good:
        raise SystemExit(Exit.FAILED)


def report(run: str = "", *, open_it: bool = False, markdown: bool = False) -> None:
    """Say where the report of a nightly run (the newest) lies, print it, or show it in a browser."""
    folder = reports.newest(Home.default(), run)
    if markdown:
        print((folder / "report.md").read_text(), end="")
        return
    page = folder / "index.html"
    print(page)
    if open_it and not webbrowser.open(page.as_uri()):
        raise PipelineError("no browser could be started here", hint=f"open {page}")


def sender(home: Home) -> Sender:
    """Return who publishes in this call."""
    clock = Clock()
    former = {target.cloud: target.owners for target in Nightly.load(SETTINGS).targets}
    return Sender(home, nightly.new_run(clock.start), clock, former=former)


def chosen_method(name: str) -> str:
    """Return the import method that is named, empty for none. Raises ``PipelineError`` when
    publishing cannot use it.
    """
    if name and name not in METHODS:
        raise PipelineError(f"--import {name[:80]}: it is one of {', '.join(METHODS)}")
    return name


def all_or(stores: str, *, all_stores: bool) -> str:
    """Return what ``--stores`` and ``--all-stores`` say together. Raises ``PipelineError`` when they contradict each
    other.
    """
    if all_stores and stores not in ("", ALL):
        raise PipelineError(f"--all-stores and --stores {stores[:80]} contradict each other", hint="give one of them")
    return ALL if all_stores else stores


def chosen_targets(cloud: str, stores: str = "") -> tuple[Target, ...]:
    """Return the cloud that is named, with the stores that are named, else those of the nightly run."""
    chosen = tuple(name for name in re.split(r"[,\s]+", stores) if name)
    known = Nightly.load(SETTINGS).targets
    given: dict[str, object] = {"stores": chosen} if chosen else {}
    try:
        if not cloud:
            return tuple(Target(**{**target.model_dump(), **given}) for target in known)
        # What is set for this cloud holds here, too.
        found = next((target for target in known if target.cloud == cloud), Target(cloud=cloud))
        return (Target(**{**found.model_dump(), **given}),)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise PipelineError(f"--{wrong['loc'][0]}: {wrong['input']!r} is not a name: {wrong['msg']}") from None


def _plan(recipes: Sequence[Recipe], targets: Sequence[Target], who: Sender, options: PublishOptions | None) -> None:
    """Show what publishing would do; a recipe that has to be built first can't be foreseen."""
    reasons = nightly.why_built(recipes, BuildOptions(home=who.home))
    ready = [recipe for recipe in recipes if not reasons[recipe.name]]
    builds = build_all(ready, BuildOptions(home=who.home))
    found: list[Preview] = []
    for build in builds:
        source = build_source.of_build(build, who.home, who.publisher, who.now)
        found += [publish_one.preview(source, target, who, options) for target in targets]
    delete = Nightly.load(SETTINGS).delete_old
    rotations = rotate_all(ready, [target.cloud for target in targets], who, delete=False)
    terminal.show_previews(found)
    terminal.show_rotations(rotations, brief=True)
    if any(deletes(each.rotated) for each in rotations) and not delete:
        print("they stay until ./inv rotate --yes; delete_old: true in recipes/nightly.yaml deletes them by itself")
    for recipe in recipes:
        if reasons[recipe.name]:
            why = PipelineError(
                f"{recipe.name} has to be built before its publication can be foreseen",
                details=reasons[recipe.name],
                hint=f"./inv build {recipe.name}",
            )
            task.show(why)
    if len(ready) < len(recipes) or any(each.error is not None for each in found):
        raise SystemExit(Exit.FAILED)


def _print_results(publish_results: Sequence[PublishResult]) -> None:
    terminal.show(publish_results)
    if not all(each.outcome.is_good for each in publish_results):
        raise SystemExit(Exit.FAILED)
