"""Write numbers in words, where the engine has none."""

from __future__ import annotations

from datetime import timedelta

from pipeline.engine.units.resources import amount


def bytes_text(size: int | None) -> str:
    """Return a number of bytes, or a dash when it is not known."""
    return "–" if size is None else amount(size)


def age_text(age: timedelta) -> str:
    """Return how long ago: ``40 min``, ``5 h``, ``12 days``."""
    minutes = max(0, round(age.total_seconds() / 60))
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{round(minutes / 60)} h"
    return f"{round(minutes / (24 * 60))} days"


def stranger_text(name: str, image: str, owner: str | None, *, is_known: bool = True) -> str:
    """Return in words an image of another project (not ``is_known``: perhaps another) that has our marks or name."""
    what = f"{name or 'an image without a name'} ({image}) of project {owner or 'nobody'} has our marks or name"
    return f"{what}: left alone" if is_known else f"{what}; the token does not tell whether that project is ours"
