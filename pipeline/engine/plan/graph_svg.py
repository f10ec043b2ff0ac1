"""Draw a plan as a picture: one column a stage, one row a recipe's step, arrows along needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from pipeline.base import atomic
from pipeline.engine.monitors.units import duration
from pipeline.engine.plan.plan import Plan, PlannedAction, PlannedStep

_WIDTH, _HEIGHT, _GAP, _LINE = 190, 46, 50, 18
_FILL = {PlannedAction.CACHED: "#d9ead3", PlannedAction.RUN: "#fff2cc", PlannedAction.BLOCKED: "#f4cccc"}
_STYLE = (
    "text{font:13px sans-serif;fill:#222}.small{font-size:11px;fill:#555}.title{font-weight:bold;font-size:15px}"
    "path{stroke:#666;fill:none;marker-end:url(#arrow)}rect{stroke:#888;rx:6}"
)


def write(file: str, plans: Sequence[Plan]) -> None:
    """Write the picture to ``file``."""
    atomic.write_text(Path(file), picture(plans))


def picture(plans: Sequence[Plan]) -> str:
    """Return the picture as SVG."""
    body: list[str] = []
    top = width = 10
    for plan in plans:
        places, height = _places(plan, top + 34)
        body += [_text(10, top + 18, plan.recipe, "title"), *_arrows(plan, places), *_boxes(plan, places)]
        top += height + 60
        width = max([width, *(x + _WIDTH + 10 for x, _ in places.values())])
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 0 {width} {top}">'
        f'<style>{_STYLE}</style><rect width="100%" height="100%" style="fill:white;stroke:none;rx:0"/>'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" style="fill:#666;stroke:none;marker-end:none"/></marker></defs>'
    )
    return "\n".join([head, *body, "</svg>", ""])


def _places(plan: Plan, top: int) -> tuple[dict[str, tuple[int, int]], int]:
    """Where each step's box stands, and how high all of it is: a step stands right of all that it needs."""
    columns: dict[str, int] = {}
    for step in plan.steps:
        columns[step.name] = 1 + max([columns[one] for one, other in plan.edges if other == step.name], default=-1)
    rows: dict[int, int] = {}
    places = {}
    for name, column in columns.items():
        row = rows[column] = rows.get(column, -1) + 1
        places[name] = (10 + column * (_WIDTH + _GAP), top + row * (_HEIGHT + 16))
    return places, (max(rows.values(), default=0) + 1) * (_HEIGHT + 16)


def _boxes(plan: Plan, places: dict[str, tuple[int, int]]) -> Iterator[str]:
    for step in plan.steps:
        x, y = places[step.name]
        yield f"<g><title>{escape(_tip(step))}</title>"
        yield f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" fill="{_FILL[step.verdict]}"/>'
        yield _text(x + 8, y + _LINE, step.name)
        took = f", {duration(step.seconds)}" if step.seconds is not None else ""
        yield _text(x + 8, y + 2 * _LINE, f"{step.verdict}{took}", "small")
        yield "</g>"


def _arrows(plan: Plan, places: dict[str, tuple[int, int]]) -> Iterator[str]:
    for one, other in plan.edges:
        (x1, y1), (x2, y2) = places[one], places[other]
        y1, y2, x1 = y1 + _HEIGHT // 2, y2 + _HEIGHT // 2, x1 + _WIDTH
        middle = (x1 + x2) // 2
        yield f'<path d="M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"/>'


def _tip(step: PlannedStep) -> str:
    return "\n".join(line for line in (step.reason, *step.changes) if line) or "its result is in the cache"


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    return f'<text x="{x}" y="{y}"{f" class={kind!r}" if kind else ""}>{escape(text)}</text>'
