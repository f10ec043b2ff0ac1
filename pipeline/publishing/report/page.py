"""Write the report as a page: one file with everything in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from pipeline.engine.monitors.units import duration
from pipeline.publishing.report import charts
from pipeline.publishing.report.units import bytes_text

_FOLDER = Path(__file__).parent
_MOST = 100  # things an image was made of that are listed


def page(facts: Mapping[str, Any]) -> str:
    """Return the page of a night's ``facts``."""
    return _environment().get_template("page.html.j2").render(night=facts, style=(_FOLDER / "page.css").read_text())


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(bytes=bytes_text, duration=duration, tone=tone, short=_short)
    environment.globals.update(size_chart=_size_chart, bars=_bars, most=_MOST)
    return environment


def tone(outcome: str) -> str:
    """Return the colour in which an outcome is shown: its CSS class."""
    if outcome in ("failed", "not built", "not run"):
        return "bad"
    if outcome in ("held back", "withdrawn", "in use", "protected"):
        return "wait"
    return "good" if outcome in ("published", "changed", "built", "ran") else "calm"


def _size_chart(nights: list[dict[str, Any]]) -> Any:
    known = [night for night in nights if night["size"]]
    labels = [f"{night['time'][:10]}: {bytes_text(night['size'])}" for night in known]
    return charts.line([float(night["size"]) for night in known], labels, "size of the published file, by night")


def _bars(rows: Mapping[str, float] | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a bar chart: name, seconds, share of the longest, and how it went."""
    if isinstance(rows, Mapping):
        rows = [{"name": name, "seconds": seconds, "status": "ran"} for name, seconds in rows.items()]
    widths = charts.shares([row["seconds"] for row in rows])
    return [{**row, "width": round(width, 1)} for row, width in zip(rows, widths, strict=True)]


def _short(digest: str | None) -> str:
    return f"{digest[:16]}…" if digest else "–"
