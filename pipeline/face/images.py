"""``./inv images``, ``why``, ``rotate`` and ``withdraw``: published images and what becomes of them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import sys
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.face import building, task
from pipeline.face.publishing import SETTINGS, chosen_targets, sender
from pipeline.face.task import Exit
from pipeline.publishing import nightly, overview, tables, withdrawal
from pipeline.publishing.delivery import Sender
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.journal import Journal, journal_file
from pipeline.publishing.marks import State
from pipeline.publishing.rotation import Fate
from pipeline.publishing.rotations import rotate_all
from pipeline.publishing.words import age_text, bytes_text
from pipeline.recipes.load import RecipeFolder
from pipeline.recipes.model import Recipe
from pipeline.recipes.nightly import Nightly

_STYLES = {State.NEWEST: "bold green", State.HELD: "yellow", State.UPLOADING: "yellow", State.WITHDRAWN: "red"}


def images(cloud: str = "", *, as_json: bool = False) -> None:
    """List what is published where."""
    who = _who(cloud)
    found: dict[str, list[ImageRecord]] = {}
    with _Clouds() as clouds:
        for target in chosen_targets(cloud):
            with clouds.trying(target.cloud):
                found[target.cloud] = overview.managed(who.connect(target.cloud), who.publisher)
        if as_json:
            print(json.dumps([_as_data(name, record) for name in found for record in found[name]], indent=2))
            return
        console = Console()
        for name, records in found.items():
            console.print(_table(name, records, who) if records else f"nothing is published on {name} yet")


def why(reference: str, cloud: str = "", *, as_json: bool = False) -> None:
    """Tell the story of one image."""
    who = _who(cloud)
    recipes = _known_recipes()
    clouds = _Clouds()
    for target in chosen_targets(cloud):
        with clouds.trying(target.cloud):
            found = overview.story(who.connect(target.cloud), who, reference, recipes)
            if found is not None:
                _tell(found, as_json=as_json)
                return
    raise PipelineError(f"no image {reference} of ours was found", hint="./inv images lists them")


def rotate(names: Sequence[str], cloud: str = "", *, plan: bool = False, yes: bool = False) -> None:
    """Delete the previous images that retention no longer keeps; without ``yes``, or with ``plan``, only say which."""
    recipes = building.load(names or Nightly.load(SETTINGS).recipes)
    who = _who(cloud)
    clouds = [target.cloud for target in chosen_targets(cloud)]
    rotations = rotate_all(recipes, clouds, who, delete=yes and not plan, progress=Said())
    tables.show_rotations(rotations)
    waiting = sum(each.fate is Fate.TO_DELETE for rotation in rotations for each in rotation.rotated)
    if waiting and not plan:
        print(f"nothing was deleted; to delete {waiting}: ./inv rotate {' '.join(names)} --yes".replace("  ", " "))
    if any(rotation.error is not None for rotation in rotations):
        raise SystemExit(Exit.FAILED)


def withdraw(name: str, why_: str, cloud: str = "") -> None:
    """Take the newest image of a recipe, or one that was uploaded, back; the one before it is the newest again."""
    # Images made elsewhere have no recipe; nothing protects them but what a person did by hand.
    known = name in RecipeFolder(building.RECIPES).names()
    protected = known and building.load([name])[0].publish.protected
    who = _who(cloud)
    with _Clouds() as clouds:
        for target in chosen_targets(cloud):
            with clouds.trying(target.cloud):
                _withdraw(name, target.cloud, who, why_, protected=protected)


def _withdraw(name: str, cloud: str, who: Sender, why_: str, *, protected: bool) -> None:
    journal = Journal(journal_file(who.home, cloud, name), who.run)
    with who.locked(who.connect(cloud), name, "withdrawing", Said()) as api:
        view = who.viewpoint(alone=True)
        done = withdrawal.withdraw_all(api, who.publisher, name, view, journal, why=why_, protected=protected)
    for part in done:
        print(f"{cloud}: {part.gone.name} is hidden; {part.back.name} ({part.back.id}) is the newest again")


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


class Said:
    """A progress that a person at a terminal reads: waiting for another machine's lock takes a while."""

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """Nothing here takes long by itself."""

    def say(self, text: str) -> None:
        """Say it."""
        print(text, file=sys.stderr)


def _who(cloud: str) -> Sender:
    home = Home.default()
    nightly.prepare(home, chosen_targets(cloud))
    return sender(home)


def _known_recipes() -> list[Recipe]:
    folder = RecipeFolder(building.RECIPES)
    return folder.load_all(folder.names())


def _tell(story: overview.Story, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**_as_data(story.cloud, story.record), "why": list(story.sentences)}, indent=2))
        return
    console = Console(highlight=False)
    console.print(Text(f"{story.record.name} on {story.cloud} ({story.record.id})", style="bold"), soft_wrap=True)
    for sentence in story.sentences:
        console.print(f"  {sentence}", soft_wrap=True, markup=False)
    for event in story.events:
        detail = " ".join(f"{key}={value}" for key, value in event.detail.items())
        words = f"  {event.time}  {event.act}  {event.why} {detail}".rstrip()
        console.print(Text(words, style="dim"), soft_wrap=True)


def _table(cloud: str, records: Sequence[ImageRecord], who: Sender) -> Table:
    table = Table(title=f"on {cloud}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
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
