"""Describe what a new image must keep to before it is shown, and how long the ones before it are kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.recipes.model.fields import Count, Flag, Model

Percent = Annotated[Count, Field(ge=0, le=10_000)]
Days = Annotated[Count, Field(ge=0, le=36_500)]
Images = Annotated[Count, Field(ge=0, le=10_000)]


class Gates(Model):
    """Limits for a new image, compared with the one published before. One beyond a limit is held back, hidden, until
    somebody lets it through; the image before it stays the newest.
    """

    max_growth: Percent | Literal["any"] = 50
    """Most per cent the file may grow."""
    max_shrinkage: Percent | Literal["any"] = 50
    """Most per cent the file may shrink."""
    max_removed_packages: Images | Literal["any"] = 20
    """Most packages that may be missing."""
    boot_test: Flag = True
    """Whether a passed boot test is required."""
    scan: Flag = True
    """Whether a scan without findings is required, if the recipe has one."""


class Retention(Model):
    """Which images stay when a newer one has taken their place. An image goes only when both limits allow it."""

    keep: Images = 3
    """How many previous images stay, beside the newest."""
    keep_days: Days = 14
    """How many days a previous image stays at least, from the moment it was no longer the newest."""
