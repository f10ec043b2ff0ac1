"""Declare the tasks for this machine and this code."""

from __future__ import annotations

from invoke.context import Context

from pipeline.base.home import Home
from pipeline.cli.task import task

_HOUSE = "This machine and this code"


@task("doctor", _HOUSE, help={"json": "the findings as JSON on standard output"})
def doctor(context: Context, json: bool = False) -> None:
    """Check everything a build needs on this machine, and say how to mend what is missing."""
    from pipeline.cli import checkup

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
        "again": "only the few that failed last time, with nothing beside them",
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
    again: bool = False,
) -> None:
    """Run the tests of this code."""
    from pipeline.cli import checks

    if again:
        checks.again(everything=all)
        return
    checks.test(fast=fast, everything=all, soak=soak, shard=shard, only=only or ())


@task(
    "bench",
    _HOUSE,
    help={
        "name": "which one; without it they are listed",
        "options": "the benchmark's own options in one word, as '--rounds 5' (--help shows them)",
        "json": "a file for the figures, with n, limits and machine",
    },
    positional=["name"],
)
def bench(context: Context, name: str = "", options: str = "", json: str = "") -> None:
    """Measure beside a yardstick of the same run; status 1 when a limit is missed."""
    from pipeline.cli import bench

    bench.run(name, options=options, json=json)


@task("lint", _HOUSE)
def lint(context: Context) -> None:
    """Check style, types, shell scripts, the architecture's rules and new commits."""
    from pipeline.cli import lint

    lint.run()
