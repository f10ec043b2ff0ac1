"""Draw charts as inline SVG: no scripts, no outside files, colours from the page's own light and dark palette.

Shapes stretch with the page; words stay outside the SVG, where they keep their size and can be read aloud.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

_WIDTH, _HEIGHT, _EDGE = 600.0, 120.0, 8.0


def line(values: Sequence[float], labels: Sequence[str], title: str) -> Markup:
    """Return a line through ``values``, oldest first; each point tells its label when pointed at.

    The lowest value stands on the chart's lower rule, the highest on the upper one.
    """
    if not values:
        return Markup()
    low, high = min(values), max(values)
    step = (_WIDTH - 2 * _EDGE) / max(1, len(values) - 1)
    points = [(_EDGE + number * step, _height(value, low, high)) for number, value in enumerate(values)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    rules = "".join(
        f'<line class="rule" x1="0" x2="{_WIDTH:.0f}" y1="{y:.0f}" y2="{y:.0f}"/>' for y in (_EDGE, _HEIGHT - _EDGE)
    )
    # A line of no length with round ends is a dot that stays round however the SVG is stretched.
    dots = "".join(
        f'<path class="dot" d="M{x:.1f} {y:.1f}h0"><title>{escape(label)}</title></path>'
        for (x, y), label in zip(points, labels, strict=True)
    )
    return Markup(  # noqa: S704  (made here of numbers and escaped text)
        f'<svg class="chart" viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}">{rules}<polyline class="line" points="{path}"/>{dots}</svg>'
    )


def _height(value: float, low: float, high: float) -> float:
    share = (value - low) / (high - low) if high > low else 0.5
    return _HEIGHT - _EDGE - share * (_HEIGHT - 2 * _EDGE)


def shares(values: Sequence[float]) -> list[float]:
    """Return each value as per cent of the largest; what is there at all stays visible."""
    top = max(values, default=0.0)
    return [max(0.5, value * 100 / top) if value > 0 else 0.0 for value in values] if top > 0 else [0.0] * len(values)
