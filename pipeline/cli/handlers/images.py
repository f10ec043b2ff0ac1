"""Carry out ``./inv images``, ``why``, ``rotate`` and ``withdraw`` on published images."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import sys
from collections.abc import Iterator, Sequence

from rich import box
from rich.text import Text

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.plain_text import one_line
from pipeline.base.terminal import SafeConsole, SafeTable
from pipeline.cli import task
from pipeline.cli.handlers import build as build_handler
from pipeline.cli.handlers.publish import SETTINGS, chosen_targets, sender
from pipeline.cli.task import Exit
from pipeline.publishing import nightly
from pipeline.publishing import takeover as takeovers
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.ownership_marker import ImageState
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.report import images as report_images
from pipeline.publishing.report import terminal
from pipeline.publishing.report.units import age_text, bytes_text, stranger_text
from pipeline.publishing.retention.rotation import RotationOutcome
from pipeline.publishing.rotate import rotate_all
from pipeline.publishing.sender import Sender
from pipeline.publishing.transaction import known_project, withdrawal
from pipeline.publishing.transaction.journal import PublishJournal, journal_file
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.nightly import Nightly

_STYLES = {
    ImageState.NEWEST: "bold green",
    ImageState.HELD: "yellow",
    ImageState.UPLOADING: "yellow",
    ImageState.WITHDRAWN: "red",
}


def images(cloud: str = "", *, as_json: bool = False) -> None:
    """List what is published where."""
    who = _who(cloud)
    found: dict[str, list[ImageRecord]] = {}
    strangers: list[tuple[str, ImageRecord, bool]] = []
    console = SafeConsole()
    with _Clouds() as clouds:
        for target in chosen_targets(cloud):
            with clouds.trying(target.cloud):
                api = who.looking(target.cloud)
                ours = report_images.managed(api, who.publisher) if api.owners.are_known else []
                others = report_images.strangers(api, who.publisher, ours)
                strangers += [(target.cloud, each, api.owners.are_known) for each in others]
                if api.owners.are_known or not others:
                    found[target.cloud] = ours
        if as_json:
            print(json.dumps([_as_data(name, record) for name in found for record in found[name]], indent=2))
        else:
            for name, records in found.items():
                console.print(_table(name, records, who) if records else f"nothing is published on {name} yet")
        for name, each, is_known in strangers:
            words = f"{name}: {stranger_text(each.name, each.id, each.owner, is_known=is_known)}"
            SafeConsole(stderr=True).print(Text(words, style="yellow"), soft_wrap=True)


def _known(api: ImageApi, who: Sender) -> ImageApi:
    """Return the cloud, once it is known whose images are ours, or that there are none. Raises ``OwnerUnknown``."""
    marked = () if api.owners.are_known else report_images.strangers(api, who.publisher, ())
    return known_project.as_nobody(api, marked)


def why(reference: str, cloud: str = "", *, as_json: bool = False) -> None:
    """Tell the history of one image."""
    who = _who(cloud)
    recipes = _known_recipes()
    clouds = _Clouds()
    for target in chosen_targets(cloud):
        with clouds.trying(target.cloud):
            found = report_images.history(_known(who.looking(target.cloud), who), who, reference, recipes)
            if found is not None:
                _print_history(found, as_json=as_json)
                return
    raise PipelineError(f"no image {reference} of ours was found", hint="./inv images lists them")


def rotate(names: Sequence[str], cloud: str = "", *, plan: bool = False, yes: bool = False) -> None:
    """Delete the previous images that retention no longer keeps; without ``yes``, or with ``plan``, only say which."""
    recipes = build_handler.load(names or Nightly.load(SETTINGS).recipes)
    who = _who(cloud)
    clouds = [target.cloud for target in chosen_targets(cloud)]
    rotations = rotate_all(recipes, clouds, who, delete=yes and not plan, progress=PrintedProgress())
    terminal.show_rotations(rotations)
    waiting = sum(each.outcome is RotationOutcome.TO_DELETE for rotation in rotations for each in rotation.rotated)
    if waiting and not plan:
        print(f"nothing was deleted; to delete {waiting}: ./inv rotate {' '.join(names)} --yes".replace("  ", " "))
    if any(rotation.error is not None for rotation in rotations):
        raise SystemExit(Exit.FAILED)


def withdraw(name: str, why_: str, cloud: str = "") -> None:
    """Take the newest image of a recipe, or one that was uploaded, back; the one before it is the newest again."""
    # Images made elsewhere have no recipe; nothing protects them but what a person did by hand.
    known = name in RecipeFolder(build_handler.RECIPES).names()
    protected = known and build_handler.load([name])[0].publish.protected
    who = _who(cloud)
    with _Clouds() as clouds:
        for target in chosen_targets(cloud):
            with clouds.trying(target.cloud):
                _withdraw(name, target.cloud, who, why_, protected=protected)


def _withdraw(name: str, cloud: str, who: Sender, why_: str, *, protected: bool) -> None:
    journal = PublishJournal(journal_file(who.home, cloud, name), who.run)
    with who.locked(who.connect(cloud), name, "withdrawing", PrintedProgress()) as api:
        context = who.runner_context(exclusive=True)
        done = withdrawal.withdraw_all(api, who.publisher, name, context, journal, why=why_, protected=protected)
    for part in done:
        print(one_line(f"{cloud}: {part.gone.name} is hidden; {part.back.name} ({part.back.id}) is the newest again"))


def takeover(owner: str = "", cloud: str = "", *, yes: bool = False) -> None:
    """Show images of other projects with our marks; with ``yes``, make those of the project ``owner`` ours."""
    who = _who(cloud)
    if yes and not owner:
        raise PipelineError("--yes: whose images are to be taken over is not said", hint="give --owner")
    with _Clouds() as clouds:
        for target in chosen_targets(cloud):
            with clouds.trying(target.cloud):
                _take_over(target.cloud, owner, who, yes=yes)


def _take_over(cloud: str, owner: str, who: Sender, *, yes: bool) -> None:
    found = takeovers.found(who.looking(cloud), who.publisher, owner)
    if not found:
        print(one_line(f"{cloud}: no image with our marks belongs to {owner or 'another project'}"))
    for record in takeovers.take_over(found, cloud, who, PrintedProgress()) if yes else ():
        print(one_line(f"{cloud}: {record.name} ({record.id}) is ours now"))
    if not yes:
        for record in found:
            print(one_line(f"{cloud}: {record.name} ({record.id}), {record.state}, belongs to project {record.owner}"))
        if found:
            print("nothing was changed; ./inv takeover --owner PROJECT --yes (as administrator) makes them yours, and")
            print("owners: [PROJECT] at the target in recipes/nightly.yaml lets them count as yours")


class _Clouds:
    """Clouds that are worked on one after another: one that fails is told of, and the others have their turn.

    As a context it ends the program with status 1 when one failed.
    """

    def __init__(self) -> None:
        self._failed = False

    def __enter__(self) -> _Clouds:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._failed:
            raise SystemExit(Exit.FAILED)

    @contextlib.contextmanager
    def trying(self, cloud: str) -> Iterator[None]:
        """Work on one of them."""
        try:
            yield
        except PipelineError as error:
            self._failed = True
            is_named = re.search(rf"\b{re.escape(cloud)}\b", error.message)
            named = error.message if is_named else f"{cloud}: {error.message}"
            task.show(PipelineError(named, hint=error.hint, details=error.details))


class PrintedProgress:
    """A progress that a person at a terminal reads: waiting for another machine's lock takes a while."""

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """Print nothing: nothing here takes long by itself."""

    def say(self, text: str) -> None:
        """Say it."""
        print(one_line(text), file=sys.stderr)


def _who(cloud: str) -> Sender:
    home = Home.default()
    nightly.prepare(home, chosen_targets(cloud))
    return sender(home)


def _known_recipes() -> list[Recipe]:
    folder = RecipeFolder(build_handler.RECIPES)
    return folder.load_all(folder.names())


def _print_history(history: report_images.ImageHistory, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**_as_data(history.cloud, history.record), "why": list(history.sentences)}, indent=2))
        return
    console = SafeConsole()
    console.print(Text(f"{history.record.name} on {history.cloud} ({history.record.id})", style="bold"), soft_wrap=True)
    for sentence in history.sentences:
        console.print(f"  {sentence}", soft_wrap=True)
    for event in history.events:
        detail = " ".join(f"{key}={value}" for key, value in event.detail.items())
        words = f"  {event.time}  {event.act}  {event.why} {detail}".rstrip()
        console.print(Text(words, style="dim"), soft_wrap=True)


def _table(cloud: str, records: Sequence[ImageRecord], who: Sender) -> SafeTable:
    table = SafeTable(title=f"on {cloud}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("image", no_wrap=True)
    for column in ("state", "size", "signature", "stores"):
        table.add_column(column, overflow="fold", min_width=len(column))
    for record in records:
        table.add_row(*_cells(record, who))
    return table


def _cells(record: ImageRecord, who: Sender) -> tuple[Text | str, ...]:
    state = record.state
    name = Text.assemble((record.name, "bold"), f"\n{record.id}\nsha512 {(record.sha512 or '–')[:16]}…")
    standing = Text(str(state), style=_STYLES.get(state, "dim") if state else "")
    return (
        name,
        standing.append(f"\n{age_text(who.now - record.created_at)}", style="dim"),
        f"{bytes_text(record.size)}\n{record.disk_format}",
        _signature(record),
        ", ".join(record.stores) or "default",
    )


def _signature(record: ImageRecord) -> str:
    if not record.signature:
        return "none"
    checked = "verified" if record.state and record.state.was_verified else "not yet verified"
    return f"{record.signature.get('img_signature_key_type', '?')}\n{checked}"


def _as_data(cloud: str, record: ImageRecord) -> dict[str, object]:
    data = dataclasses.asdict(record)
    for name in ("created_at", "updated_at"):
        data[name] = data[name].isoformat()
    return {"cloud": cloud, "state": str(record.state), **data, "tags": sorted(record.tags)}
