"""Write the report as Markdown: for mails, chat rooms and terminals."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.engine.monitors.units import duration
from pipeline.publishing.report.units import bytes_text, stranger_text

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#])")
_NAMES = 12


def text(night: Mapping[str, Any]) -> str:
    """Return the whole night."""
    return "\n".join(_lines(night)) + "\n"


def _lines(night: Mapping[str, Any]) -> Iterator[str]:
    yield f"# Nightly images, {night['began'][:10]}: {_plain(night['verdict'])}"
    yield ""
    yield f"Began {night['began']}, took {duration(night['seconds'])}, run `{night['run']}`."
    for note in night["notes"]:
        yield f"\n{_plain(note)}"
    yield "\n| recipe | cloud | outcome | image | size | time |"
    yield "|---|---|---|---|---:|---:|"
    for recipe in night["recipes"]:
        for cloud in recipe["clouds"]:
            yield _row(recipe, cloud)
    for recipe in night["recipes"]:
        yield from _recipe(recipe)
    yield from _rotation(night["rotation"])


def _row(recipe: Mapping[str, Any], cloud: Mapping[str, Any]) -> str:
    image = next((part["image"] for part in cloud["images"] if part["part"] == "disk"), None)
    shown = (_plain(image["name"]), bytes_text(image["size"])) if image else ("–", "–")
    cells = (recipe["name"], cloud["cloud"], cloud["outcome"], *shown, duration(cloud["seconds"]))
    return f"| {' | '.join(cells)} |"


def _recipe(recipe: Mapping[str, Any]) -> Iterator[str]:
    build = recipe["build"]
    yield f"\n## {_plain(recipe['name'])}: {build['outcome']} in {duration(build['seconds'])}\n"
    for reason in build["why"]:
        yield f"- {_plain(reason)}"
    if recipe["made_from"]:
        names = [each["name"] for each in recipe["made_from"]]
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        yield f"- made from {_plain(', '.join(names[:_NAMES]))}{more}"
    if build["error"]:
        yield from _error("the build failed", build["error"])
    for cloud in recipe["clouds"]:
        if cloud["error"] and not build["error"]:
            yield from _error(f"{cloud['cloud']}: {cloud['outcome']}", cloud["error"])
        for reason in cloud["held"]:
            yield f"- {_plain(cloud['cloud'])}: **held back**: {_plain(reason)}"
        if cloud["held"]:
            yield f"- to show it all the same: `./inv publish {recipe['name']} --cloud {cloud['cloud']} --let-through`"
        for stranger in cloud["strangers"]:
            words = stranger_text(stranger["name"], stranger["id"], stranger["owner"])
            yield f"- {_plain(cloud['cloud'])}: {_plain(words)}"
        for remark in cloud["remarks"]:
            yield f"- {_plain(cloud['cloud'])}: {_plain(remark)}"
        for part in cloud["images"]:
            if part["waiting"]:
                yield f"- {_plain(cloud['cloud'])}: {_plain(', '.join(part['waiting']))} still have to accept it"
            if part["image"] and part["outcome"] != "unchanged":
                image = part["image"]
                digest = _code(image["sha512"]) if image["sha512"] else "–"
                yield f"- {_plain(cloud['cloud'])}: {part['outcome']} {_code(image['id'])}, sha512 {digest}"
    for difference in recipe["differences"]:
        for name, kind in difference["kinds"].items():
            yield f"- {name} on {_plain(difference['cloud'])}: {kind['summary']}{_names(name, kind)}"


def _names(name: str, kind: Mapping[str, Any]) -> str:
    shown = [f"+{key}" for key in kind["added"]] + [f"−{key}" for key in kind["removed"]]
    shown += [key if name == "files" else f"{key} {pair[0]}→{pair[1]}" for key, pair in kind["updated"].items()]
    more = sum(kind["counts"]) - _NAMES
    return f" ({_plain(', '.join(shown[:_NAMES]))}{f' and {more} more' if more > 0 else ''})" if shown else ""


def _error(heading: str, error: Mapping[str, Any]) -> Iterator[str]:
    yield f"- **{_plain(heading)}**: {_plain(error['message'])}"
    for detail in error["details"]:
        yield f"    - {_plain(detail)}"
    if error["hint"]:
        yield f"    - hint: {_plain(error['hint'])}"


def _rotation(rotation: list[Mapping[str, Any]]) -> Iterator[str]:
    gone = [(each, image) for each in rotation for image in each["images"] if image["fate"] not in ("kept",)]
    if gone:
        yield "\n## Previous images\n"
    for each, image in gone:
        yield f"- {each['cloud']}: {_plain(image['name'])}: {image['fate']}: {_plain(image['why'])}"


def _plain(words: str) -> str:
    """Text that comes from outside, without a meaning in Markdown."""
    return _SPECIAL.sub(r"\\\1", " ".join(words.split()))


def _code(words: str) -> str:
    """Text that comes from outside as code, which ends nowhere before its end."""
    plain = words.replace("`", "'")
    return f"`{plain}`"
