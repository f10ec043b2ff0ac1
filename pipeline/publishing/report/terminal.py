"""Print publications as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.text import Text

from pipeline.base.terminal import SafeConsole, SafeTable
from pipeline.publishing.publish_one import Preview, PublishResult
from pipeline.publishing.report.units import bytes_text, stranger_text
from pipeline.publishing.retention.rotation import RotationOutcome, deletes
from pipeline.publishing.rotate import RecipeRotation
from pipeline.publishing.transaction.transaction import PartResult, PublishOutcome

_COLOURS = {
    PublishOutcome.PUBLISHED: "green",
    PublishOutcome.CHANGED: "green",
    PublishOutcome.UNCHANGED: "dim",
    PublishOutcome.LEFT_ALONE: "dim",
    PublishOutcome.HELD: "yellow",
    PublishOutcome.WITHDRAWN: "yellow",
    PublishOutcome.NOT_BUILT: "bold red",
    PublishOutcome.FAILED: "bold red",
}
_OUTCOMES = {
    RotationOutcome.DELETED: "red",
    RotationOutcome.TO_DELETE: "red",
    RotationOutcome.IN_USE: "yellow",
    RotationOutcome.PROTECTED: "yellow",
}
# Longer names of images may be broken; dated names of usual length fit next to their reasons into 80 columns.
_WHOLE = 44
# Marks of ours and of the service, and the signature, which has a line of its own.
_NOT_SHOWN = ("pipeline_", "os_glance", "img_signature")


def overview(publish_results: Iterable[PublishResult]) -> SafeTable:
    """Return one line a recipe and cloud."""
    table = SafeTable(title="publications", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("recipe", "cloud", "outcome", "image", "size", "stores"):
        table.add_column(column, overflow="fold")
    table.add_column("seconds", justify="right")
    for publish_result in publish_results:
        outcome = Text(str(publish_result.outcome), style=_COLOURS[publish_result.outcome])
        record = publish_result.disk.record if publish_result.disk else None
        shown = (record.name, bytes_text(record.size), ", ".join(record.stores)) if record else ("", "", "")
        table.add_row(publish_result.recipe, publish_result.cloud, outcome, *shown, f"{publish_result.seconds:.1f}")
    return table


def details(publish_result: PublishResult, part: PartResult) -> SafeTable:
    """Return everything about one published image."""
    table = SafeTable(
        title=f"{publish_result.recipe} → {publish_result.cloud}",
        title_justify="left",
        box=box.SIMPLE,
        show_header=False,
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


def show(publish_results: Iterable[PublishResult], console: SafeConsole | None = None) -> None:
    """Print the overview, then each image that is new or changed, then what is to be done about failures."""
    found = list(publish_results)
    terminal = console or SafeConsole()
    for publish_result in found:
        if publish_result.outcome not in (PublishOutcome.UNCHANGED, PublishOutcome.LEFT_ALONE):
            for part in publish_result.parts:
                if part.outcome is not PublishOutcome.UNCHANGED:
                    terminal.print(details(publish_result, part))
    terminal.print(overview(found))
    for publish_result in found:
        for words in _next(publish_result):
            terminal.print(Text(words, style="red" if publish_result.error else "yellow"), soft_wrap=True)


def _next(publish_result: PublishResult) -> Iterator[str]:
    """Yield what stands in the way of a publication, and what a person may do about it."""
    where = f"{publish_result.recipe} → {publish_result.cloud}"
    command = f"./inv publish {publish_result.recipe} --cloud {publish_result.cloud}"
    if publish_result.error is not None:
        yield f"{where}: {publish_result.error}"
    for deviation in publish_result.deviations:
        yield f"{where}: other than in the plan shown before: {deviation}"
    for stranger in publish_result.strangers:
        yield f"{where}: {stranger_text(stranger.name, stranger.id, stranger.owner)}"
    for remark in publish_result.remarks:
        yield f"{where}: {remark}"
    if publish_result.outcome is PublishOutcome.HELD:
        yield f"{where} is held back: {'; '.join(publish_result.held)}"
        yield f"  to show it all the same: {command} --let-through"
    if publish_result.outcome is PublishOutcome.WITHDRAWN:
        yield f"{where}: a person took exactly these bytes back"
        yield "  to publish them again: say --again"
    for part in publish_result.parts:
        if part.waiting:
            yield f"{where}: {', '.join(part.waiting)} still have to accept {part.record.id if part.record else 'it'}"


def show_previews(previews: Iterable[Preview], console: SafeConsole | None = None) -> None:
    """Print what publishing would do, act by act with the reason."""
    terminal = console or SafeConsole()
    found = list(previews)
    for preview in found:
        rows = [(str(step.act), step.name, step.why) for step in preview.steps]
        if rows:
            terminal.print(_by_image(f"{preview.recipe} → {preview.cloud}", ("act", "image", "why"), rows))
    for preview in found:
        for stranger in preview.strangers if preview.error is None else ():
            words = stranger_text(stranger.name, stranger.id, stranger.owner)
            terminal.print(Text(f"{preview.recipe} → {preview.cloud}: {words}", style="yellow"), soft_wrap=True)
        for remark in preview.remarks:
            terminal.print(Text(f"{preview.recipe} → {preview.cloud}: {remark}", style="yellow"), soft_wrap=True)
        if preview.project:
            words = f"the token does not tell whose images are ours; this is the plan for project {preview.project}"
            terminal.print(Text(f"{preview.cloud}: {words}", style="dim"), soft_wrap=True)
        if preview.error is not None:
            terminal.print(Text(f"{preview.recipe} → {preview.cloud}: {preview.error}", style="red"))


def show_rotations(
    rotations: Iterable[RecipeRotation], console: SafeConsole | None = None, *, brief: bool = False
) -> None:
    """Print what becomes of previous images, each with the reason; if ``brief``, only of those that go."""
    terminal = console or SafeConsole()
    found = list(rotations)
    for rotation in found:
        shown = [each for each in rotation.rotated if not brief or each.outcome is not RotationOutcome.KEPT]
        rows = [
            (Text(str(each.outcome), style=_OUTCOMES.get(each.outcome, "")), each.record.name, each.why)
            for each in shown
        ]
        if rows:
            terminal.print(_by_image(f"{rotation.recipe} on {rotation.cloud}", ("fate", "image", "why"), rows))
    for rotation in found:
        if rotation.error is not None:
            terminal.print(Text(f"{rotation.recipe} on {rotation.cloud}: {rotation.error}", style="red"))
    if not brief and not any(deletes(rotation.rotated) for rotation in found):
        previous = any(rotation.rotated for rotation in found)
        terminal.print("nothing is to be deleted" if previous else "there are no previous images")


def _by_image(title: str, columns: Sequence[str], rows: Sequence[tuple[str | Text, str, str]]) -> SafeTable:
    """Return a table whose second column has images' names: whole, if not absurd, so that they can be copied."""
    table = SafeTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
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
