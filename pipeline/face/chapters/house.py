"""Tasks for this machine and this code."""

from __future__ import annotations

from invoke.context import Context

from pipeline.base.home import Home
from pipeline.face.task import task

_HOUSE = "This machine and this code"


@task("doctor", _HOUSE, help={"json": "the findings as JSON on standard output"})
def doctor(context: Context, json: bool = False) -> None:
    """Check everything a build needs on this machine, and say how to mend what is missing."""
    from pipeline.face import checkup

    checkup.run(Home.default(), as_json=json)


@task(
    "test",
    _HOUSE,
    help={
        "fast": "only what takes a moment: no guests, no servers",
        "all": "also the long ones",
        "soak": "only those that run for hours",
        "shard": "one part of the tests, as I/N: 2/3 is the second of three",
        "only": "a folder, file or test, as pytest names it (may be repeated)",
    },
    iterable=["only"],
)
def test(
    context: Context,
    only: list[str] | None = None,
    fast: bool = False,
    all: bool = False,
    soak: bool = False,
    shard: str = "",
) -> None:
    """Run the tests of this code."""
    from pipeline.face import checks

    checks.test(fast=fast, everything=all, soak=soak, shard=shard, only=only or ())


@task("lint", _HOUSE)
def lint(context: Context) -> None:
    """Check style, types, shell scripts and the house's floors."""
    from pipeline.face import checks

    checks.lint()
