"""Keep the plan that a person was shown last until it is carried out: what differs then is said before."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pipeline.base import atomic, json_text
from pipeline.base.home import Home
from pipeline.publishing.plan.steps import PlannedAct
from pipeline.publishing.transaction.journal import file_name


def keep(home: Home, cloud: str, recipe: str, steps: Iterable[PlannedAct]) -> None:
    """Remember what was shown."""
    text = json.dumps([step.as_data() for step in steps], ensure_ascii=False, indent=1)
    atomic.write_text(_file(home, cloud, recipe), f"{text}\n")


def take(home: Home, cloud: str, recipe: str) -> list[dict[str, str]] | None:
    """Return the steps, as ``PlannedAct.as_data`` gives them, that were shown last and not carried out since; forgets
    them.
    """
    file = _file(home, cloud, recipe)
    try:
        document = json_text.loads(file.read_bytes())
    except (OSError, ValueError):
        document = None
    file.unlink(missing_ok=True)
    if not isinstance(document, list) or not all(_is_step(each) for each in document):
        return None
    return document


def _is_step(document: object) -> bool:
    return isinstance(document, dict) and all(isinstance(text, str) for text in document.values())


def _file(home: Home, cloud: str, recipe: str) -> Path:
    return home.root / "publishing" / "plans" / file_name(cloud) / f"{file_name(recipe)}.json"
