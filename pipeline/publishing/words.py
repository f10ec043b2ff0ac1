"""Numbers in words, where the engine has none."""

from __future__ import annotations

from datetime import timedelta

from pipeline.engine.resources import amount


def bytes_text(size: int | None) -> str:
    """A number of bytes, or a dash when it is not known."""
    return "–" if size is None else amount(size)


def age_text(age: timedelta) -> str:
    """How long ago: ``40 min``, ``5 h``, ``12 days``."""
    minutes = max(0, round(age.total_seconds() / 60))
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{round(minutes / 60)} h"
    return f"{round(minutes / (24 * 60))} days"
