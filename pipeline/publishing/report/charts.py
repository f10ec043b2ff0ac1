"""Charts as inline SVG: no scripts, no outside files, colours from the page's own light and dark palette.

Shapes stretch with the page; words stay outside the SVG, where they keep their size and can be read aloud.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

_WIDTH, _HEIGHT, _EDGE = 600.0, 120.0, 8.0


def line(values: Sequence[float], labels: Sequence[str], title: str) -> Markup:
    """A line through ``values``, oldest first, from zero upwards; each point tells its label when pointed at."""
    if not values:
        return Markup()
    top = max(values) or 1.0
    step = (_WIDTH - 2 * _EDGE) / max(1, len(values) - 1)
    points = [
        (_EDGE + number * step, _HEIGHT - _EDGE - value / top * (_HEIGHT - 2 * _EDGE))
        for number, value in enumerate(values)
    ]
    if len(points) == 1:
        points = [(_WIDTH / 2, points[0][1])]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    floor = _HEIGHT - _EDGE
    area = f"{points[0][0]:.1f},{floor} {path} {points[-1][0]:.1f},{floor}"
    # A line of no length with round ends is a dot that stays round however the SVG is stretched.
    dots = "".join(
        f'<path class="dot" d="M{x:.1f} {y:.1f}h0"><title>{escape(label)}</title></path>'
        for (x, y), label in zip(points, labels, strict=True)
    )
    return Markup(  # noqa: S704  (made here of numbers and escaped text)
        f'<svg class="chart" viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}"><polygon class="area" points="{area}"/>'
        f'<line class="floor" x1="0" x2="{_WIDTH:.0f}" y1="{floor}" y2="{floor}"/>'
        f'<polyline class="line" points="{path}"/>{dots}</svg>'
    )


def shares(values: Sequence[float]) -> list[float]:
    """Each value as per cent of the largest; what is there at all stays visible."""
    top = max(values, default=0.0)
    return [max(0.5, value * 100 / top) if value > 0 else 0.0 for value in values] if top > 0 else [0.0] * len(values)
