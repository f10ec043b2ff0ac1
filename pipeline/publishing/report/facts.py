"""Gather a night's facts as JSON data: the one source of the page, the text, the mail and the webhook."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.engine.record.result import BuildResult
from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.contents.diff import ContentsDiff
from pipeline.publishing.history import NightHistory
from pipeline.publishing.nightly import Night
from pipeline.publishing.publish_one import PublishResult
from pipeline.publishing.transaction.transaction import PartResult, PublishOutcome

VERSION = 1
_TAIL = 40
_NIGHTS = 60
_SHOWN = 200  # names of one kind in a difference; the rest is counted


def of_night(night: Night, home: Home) -> dict[str, Any]:
    """Return everything worth telling of a night."""
    recipes = [_recipe(build, night, home) for build in night.builds]
    return {
        "version": VERSION,
        "run": night.run,
        "began": ownership_marker.time_text(night.began),
        "seconds": round(night.seconds, 1),
        "verdict": _verdict(night),
        "good": night.is_good,
        "changed": not night.changed_nothing,
        "totals": totals(recipes),
        "recipes": recipes,
        "rotation": [
            {"recipe": each.recipe, "cloud": each.cloud, "images": _rotated(each.rotated), "error": _error(each.error)}
            for each in night.rotations
        ],
        "notes": list(night.notes),
    }


def _verdict(night: Night) -> str:
    outcomes = [each.outcome for each in night.publish_results]
    failed = sum(each in (PublishOutcome.FAILED, PublishOutcome.NOT_BUILT) for each in outcomes)
    held = sum(each in (PublishOutcome.HELD, PublishOutcome.WITHDRAWN) for each in outcomes)
    published = sum(each is PublishOutcome.PUBLISHED for each in outcomes)
    changed = sum(each is PublishOutcome.CHANGED for each in outcomes)
    counted = ((failed, "failed"), (held, "held back"), (published, "published"), (changed, "changed"))
    words = [f"{count} {word}" for count, word in counted if count]
    return ", ".join(words) or "nothing has changed"


def _recipe(build: BuildResult, night: Night, home: Home) -> dict[str, Any]:
    publish_results = [each for each in night.publish_results if each.recipe == build.recipe.name]
    recipe = build.recipe
    return {
        "name": recipe.name,
        "summary": recipe.summary,
        "system": f"{recipe.os.distro} {recipe.os.version}, {recipe.architecture}",
        "build": _build(build, night.reasons.get(recipe.name, ())),
        "made_from": list(_made_from(build)),
        "products": [
            {
                "format": product.format,
                "size": product.size,
                "digests": dict(product.digests),
                "signature": dict(product.signature),
            }
            for product in build.products
        ],
        "boot_test": dict(build.facts.get("boot_test", {})),
        "firmware_test": dict(build.facts.get("firmware_test", {})),
        "clouds": [_cloud(each) for each in publish_results],
        "differences": [_difference(each) for each in publish_results if each.difference],
        "nights": {each.cloud: _nights(home, recipe.name, each.cloud) for each in publish_results},
    }


def _build(build: BuildResult, reasons: Sequence[str]) -> dict[str, Any]:
    outcome = "failed" if not build.is_good else "built" if build.changed else "nothing changed"
    return {
        "outcome": outcome,
        "seconds": round(build.seconds, 1),
        "why": list(reasons),
        "steps": [
            {
                "name": step.name,
                "stage": step.stage,
                "status": str(step.status),
                "seconds": round(step.seconds, 1),
            }
            for step in build.steps
        ],
        "error": _error(build.error),
        "log": next((tail(step.log) for step in build.steps if not step.status.is_good and step.log), ""),
        "evidence": str(build.evidence) if build.evidence else "",
    }


def _made_from(build: BuildResult) -> Iterator[dict[str, str]]:
    """Yield what the steps took in from outside, as their facts name it."""
    for name, facts in build.facts.items():
        for each in facts.get("dependencies", ()):
            kind, digest = next(iter(each.get("digest", {}).items()), ("", ""))
            yield {
                "name": str(each.get("name", name)),
                "from": re.sub(r"//[^/@]*@", "//", str(each.get("uri", ""))),
                "digest": f"{kind} {digest[:16]}…" if digest else "",
            }


def _cloud(publish_result: PublishResult) -> dict[str, Any]:
    return {
        "cloud": publish_result.cloud,
        "outcome": str(publish_result.outcome),
        "good": publish_result.outcome.is_good,
        "seconds": round(publish_result.seconds, 1),
        "stages": {stage: round(seconds, 2) for stage, seconds in publish_result.timings.items()},
        "images": [_part(part) for part in publish_result.parts],
        "held": list(publish_result.held),
        "strangers": [
            {"id": each.id, "name": each.name, "owner": each.owner or "", "visibility": each.visibility}
            for each in publish_result.strangers
        ],
        "remarks": list(publish_result.remarks),
        "error": _error(publish_result.error),
    }


def _part(part: PartResult) -> dict[str, Any]:
    return {
        "part": str(part.part),
        "outcome": str(part.outcome),
        "image": _image(part.record),
        "previous": _image(part.previous),
        "changed": list(part.changed),
        "waiting": list(part.waiting),
        "read_back": [
            {
                "store": read.store or "",
                "place": read.place,
                "signature": read.signature,
                "seconds": round(read.seconds, 2),
            }
            for read in part.read
        ],
    }


def _image(record: ImageRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {
        "id": record.id,
        "name": record.name,
        "size": record.size,
        "format": record.disk_format,
        "sha512": record.sha512,
        "stores": list(record.stores),
        "visibility": record.visibility,
        "created": ownership_marker.time_text(record.created_at),
        "signed": bool(record.signature),
    }


def _difference(publish_result: PublishResult) -> dict[str, Any]:
    difference = publish_result.difference or ContentsDiff()
    return {
        "cloud": publish_result.cloud,
        "kinds": {
            name: {
                "summary": changes.summary,
                "added": dict(list(changes.added.items())[:_SHOWN]),
                "removed": dict(list(changes.removed.items())[:_SHOWN]),
                "updated": {key: list(pair) for key, pair in list(changes.updated.items())[:_SHOWN]},
                "counts": [len(changes.added), len(changes.removed), len(changes.updated)],
            }
            for name, changes in difference.kinds.items()
            if changes
        },
    }


def _nights(home: Home, recipe: str, cloud: str) -> list[dict[str, Any]]:
    return [asdict(entry) for entry in NightHistory(home, recipe).entries(cloud)[-_NIGHTS:]]


def _rotated(rotated: Iterable[Any]) -> list[dict[str, str]]:
    return [
        {"id": each.record.id, "name": each.record.name, "fate": str(each.outcome), "why": each.why} for each in rotated
    ]


def _error(error: PipelineError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {"message": error.message, "details": list(error.details), "hint": error.hint or ""}


def tail(path: Path, lines: int = _TAIL) -> str:
    """Return the last lines of a log, without what moves a terminal's cursor."""
    try:
        with path.open(errors="replace") as file:
            last = deque(file, maxlen=lines)
    except OSError:
        return ""
    return "".join(character for character in "".join(last) if character == "\n" or character.isprintable())


def totals(recipes: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many publications ended in which way."""
    counts: dict[str, int] = {}
    for recipe in recipes:
        for cloud in recipe["clouds"]:
            counts[cloud["outcome"]] = counts.get(cloud["outcome"], 0) + 1
    return counts
