"""Publications as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.publishing.delivery import Delivery, Preview
from pipeline.publishing.publication import Outcome, PartResult
from pipeline.publishing.rotation import Fate, deletes
from pipeline.publishing.rotations import RecipeRotation
from pipeline.publishing.words import bytes_text

_COLOURS = {
    Outcome.PUBLISHED: "green",
    Outcome.CHANGED: "green",
    Outcome.UNCHANGED: "dim",
    Outcome.LEFT_ALONE: "dim",
    Outcome.HELD: "yellow",
    Outcome.WITHDRAWN: "yellow",
    Outcome.NOT_BUILT: "bold red",
    Outcome.FAILED: "bold red",
}
_FATES = {Fate.DELETED: "red", Fate.TO_DELETE: "red", Fate.IN_USE: "yellow", Fate.PROTECTED: "yellow"}
# Longer names of images may be broken; dated names of usual length fit beside their reasons into 80 columns.
_WHOLE = 44
# Marks of ours and of the service, and the signature, which has a line of its own.
_NOT_SHOWN = ("pipeline_", "os_glance", "img_signature")


def overview(deliveries: Iterable[Delivery]) -> Table:
    """One line a recipe and cloud."""
    table = Table(title="publications", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("recipe", "cloud", "outcome", "image", "size", "stores"):
        table.add_column(column, overflow="fold")
    table.add_column("seconds", justify="right")
    for delivery in deliveries:
        outcome = Text(str(delivery.outcome), style=_COLOURS[delivery.outcome])
        record = delivery.disk.record if delivery.disk else None
        shown = (record.name, bytes_text(record.size), ", ".join(record.stores)) if record else ("", "", "")
        table.add_row(delivery.recipe, delivery.cloud, outcome, *shown, f"{delivery.seconds:.1f}")
    return table


def details(delivery: Delivery, part: PartResult) -> Table:
    """Everything about one published image."""
    table = Table(
        title=f"{delivery.recipe} → {delivery.cloud}", title_justify="left", box=box.SIMPLE, show_header=False
    )
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    record = part.record
    if record is None:
        return table
    shown = {name: value for name, value in record.properties.items() if not name.startswith(_NOT_SHOWN)}
    rows = {
        "name": record.name,
        "id": record.id,
        "stores": ", ".join(record.stores) or "the cloud's default",
        "size": f"{bytes_text(record.size)} ({record.size} bytes), {record.disk_format}",
        "sha512": record.sha512 or "–",
        "shown": f"{record.visibility}, min_disk {record.min_disk} GiB, min_ram {record.min_ram} MiB",
        **({"members": f"{', '.join(part.waiting)} still have to accept it"} if part.waiting else {}),
        "tags": ", ".join(sorted(record.tags)),
        "properties": ", ".join(f"{name}={value}" for name, value in sorted(shown.items())),
        "signature": _signature(part),
        "seconds": ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in part.seconds.items()),
    }
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def show(deliveries: Iterable[Delivery], console: Console | None = None) -> None:
    """Print the overview, then each image that is new or changed, then what is to be done about failures."""
    found = list(deliveries)
    terminal = console or Console()
    for delivery in found:
        if delivery.outcome not in (Outcome.UNCHANGED, Outcome.LEFT_ALONE):
            for part in delivery.parts:
                if part.outcome is not Outcome.UNCHANGED:
                    terminal.print(details(delivery, part))
    terminal.print(overview(found))
    for delivery in found:
        for words in _next(delivery):
            terminal.print(Text(words, style="red" if delivery.error else "yellow"), soft_wrap=True)


def _next(delivery: Delivery) -> Iterator[str]:
    """What stands in the way of a publication, and what a person may do about it."""
    where = f"{delivery.recipe} → {delivery.cloud}"
    command = f"./inv publish {delivery.recipe} --cloud {delivery.cloud}"
    if delivery.error is not None:
        yield f"{where}: {delivery.error}"
    if delivery.outcome is Outcome.HELD:
        yield f"{where} is held back: {'; '.join(delivery.held)}\n  to show it all the same: {command} --let-through"
    if delivery.outcome is Outcome.WITHDRAWN:
        yield f"{where}: a person took exactly these bytes back\n  to publish them again: say --again"
    for part in delivery.parts:
        if part.waiting:
            yield f"{where}: {', '.join(part.waiting)} still have to accept {part.record.id if part.record else 'it'}"


def show_previews(previews: Iterable[Preview], console: Console | None = None) -> None:
    """Print what publishing would do, act by act with the reason."""
    terminal = console or Console()
    found = list(previews)
    for preview in found:
        rows = [(str(step.act), step.name, step.why) for step in preview.steps]
        if rows:
            terminal.print(_by_image(f"{preview.recipe} → {preview.cloud}", ("act", "image", "why"), rows))
    for preview in found:
        if preview.error is not None:
            terminal.print(Text(f"{preview.recipe} → {preview.cloud}: {preview.error}", style="red"))


def show_rotations(rotations: Iterable[RecipeRotation], console: Console | None = None, *, brief: bool = False) -> None:
    """Print what becomes of previous images, each with the reason; if ``brief``, only of those that go."""
    terminal = console or Console()
    found = list(rotations)
    for rotation in found:
        told = [each for each in rotation.rotated if not brief or each.fate is not Fate.KEPT]
        rows = [(Text(str(each.fate), style=_FATES.get(each.fate, "")), each.record.name, each.why) for each in told]
        if rows:
            terminal.print(_by_image(f"{rotation.recipe} on {rotation.cloud}", ("fate", "image", "why"), rows))
    for rotation in found:
        if rotation.error is not None:
            terminal.print(Text(f"{rotation.recipe} on {rotation.cloud}: {rotation.error}", style="red"))
    if not brief and not any(deletes(rotation.rotated) for rotation in found):
        previous = any(rotation.rotated for rotation in found)
        terminal.print("nothing is to be deleted" if previous else "there are no previous images")


def _by_image(title: str, columns: Sequence[str], rows: Sequence[tuple[str | Text, str, str]]) -> Table:
    """A table whose second column has images' names: whole, if they are not absurd, so that they can be copied."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    longest = max(len(name) for _, name, _ in rows)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "image" and longest <= _WHOLE)
    for first, name, why in rows:
        table.add_row(first, Text(name), Text(why))
    return table


def _signature(part: PartResult) -> str:
    record = part.record
    if record is None or not record.signature:
        return "not signed"
    read = [found.signature for found in part.read if found.signature]
    kind = f"{record.signature.get('img_signature_key_type')}, {record.signature.get('img_signature_hash_method')}"
    return f"{kind}, read back and verified" if read else f"{kind}, verified when it was published"
