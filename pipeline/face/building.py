"""``./inv build`` and ``./inv plan``: recipes by name, and what becomes of them."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT, Home
from pipeline.engine import graph_svg, registry
from pipeline.engine.asking import PatientWait
from pipeline.engine.build import build as build_all
from pipeline.engine.freshness import Look, current
from pipeline.engine.history import History
from pipeline.engine.lock_file import LockFile
from pipeline.engine.monitors.choice import choose
from pipeline.engine.monitors.words import duration
from pipeline.engine.options import BuildOptions
from pipeline.engine.plan import Plan, PlannedStep, Verdict
from pipeline.engine.plan import plan as plan_one
from pipeline.engine.resources import amount
from pipeline.engine.result import BuildResult
from pipeline.engine.store import Store
from pipeline.face.task import Exit
from pipeline.recipes import nightly
from pipeline.recipes.load import RecipeFolder
from pipeline.recipes.model import Recipe
from pipeline.recipes.source import with_engine, with_source

RECIPES = CHECKOUT / "recipes"
_SHOWN = 6
_STYLES = {Verdict.CACHED: "dim", Verdict.RUN: "yellow", Verdict.BLOCKED: "bold red"}


def load(names: Sequence[str], settings: Sequence[str] = (), source: str = "") -> list[Recipe]:
    """The recipes called ``names``, with variables set by ``name=value`` and installed from the file ``source``."""
    overrides = {}
    for setting in settings:
        match = re.fullmatch(r"([A-Za-z0-9_]+)=(.*)", setting, re.DOTALL)
        if not match:
            raise PipelineError(f"--set {setting}: write it as name=value")
        overrides[match[1]] = match[2]
    if not names:
        known = ", ".join(RecipeFolder(RECIPES).names())
        raise PipelineError("no recipe is named", hint=f"recipes: {known}")
    recipes = RecipeFolder(RECIPES).load_all(names, overrides)
    return [with_source(recipe, Path(source)) for recipe in recipes] if source else recipes


def build(
    names: Sequence[str],
    settings: Sequence[str] = (),
    *,
    source: str = "",
    engine: str = "",
    as_json: bool = False,
    ci: bool = False,
    keep: bool = False,
    jobs: int = 0,
    guests: int = 0,
    locked: bool = False,
    offline: bool = False,
) -> None:
    """Build; end with status 1 when a recipe failed."""
    for option, bound in (("jobs", jobs), ("guests", guests)):
        if bound < 0:
            raise PipelineError(f"--{option} {bound}: at least 1")
    recipes = load(names, settings, source)
    if engine:
        recipes = [with_engine(recipe, engine) for recipe in recipes]
    monitor = choose(as_json=as_json, ci=ci)
    options = BuildOptions(
        monitors=(monitor,), keep=keep, jobs=jobs or None, guests=guests or None, locked=locked, offline=offline
    )
    results = build_all(recipes, options)
    if not as_json:
        _show_products(results)
    if not all(result.is_good for result in results):
        raise SystemExit(Exit.FAILED)


def _show_products(results: Sequence[BuildResult]) -> None:
    home = Home.default()
    for result in results:
        for product in result.products:
            file = home.artifacts / result.recipe.name / f"{result.recipe.name}.{product.format}"
            print(f"  {file}  {amount(product.size)}  sha256 {product.digests['sha256'][:16]}…")


def lock(names: Sequence[str], settings: Sequence[str] = ()) -> None:
    """Look at what recipes take from outside, and write it to their lock files."""
    for recipe in load(names or nightly.names(RECIPES / "nightly.yaml"), settings):
        file = LockFile(RECIPES, recipe.name, mend=True)
        found, news = current(
            recipe, registry.STEPS, file, Look.FRESH, PatientWait(functools.partial(_tell, recipe.name))
        )
        known = f"{len(found)} sources are locked, none has changed" if found else "takes nothing from outside"
        print("\n".join(news) or f"{recipe.name}: {known}")


def _tell(recipe: str, text: str) -> None:
    print(f"{recipe}: {text}", file=sys.stderr, flush=True)


def plan(
    names: Sequence[str],
    settings: Sequence[str] = (),
    *,
    source: str = "",
    as_json: bool = False,
    graph: str = "",
) -> None:
    """Show what a build would do, as a table, as JSON, or as a picture in the file ``graph``.

    Ends with status 1 when a build would fail for something that is missing.
    """
    home = Home.default()
    recipes = load(names or nightly.names(RECIPES / "nightly.yaml"), settings, source)
    store = Store.open(home.cache)
    with closing(History(home)) as history:
        plans = [plan_one(recipe, registry.STEPS, store, history, LockFile(RECIPES, recipe.name)) for recipe in recipes]
    if graph:
        graph_svg.write(graph, plans)
    if as_json:
        print(json.dumps([each.as_dict() for each in plans], indent=2))
    else:
        for each in plans:
            _show_plan(each)
    if any(each.is_blocked for each in plans):
        raise SystemExit(Exit.FAILED)


def _show_plan(plan: Plan) -> None:
    console = Console(highlight=False)
    if plan.error:
        console.print(Text.assemble((plan.recipe, "bold"), "  ", (plan.error, "bold red")), soft_wrap=True)
        return
    console.print(Text.assemble((plan.recipe, "bold"), "  ", _headline(plan)))
    table = Table.grid(padding=(0, 2))
    for step in plan.steps:
        took = duration(step.seconds) if step.seconds is not None else "?"
        table.add_row("", step.name, Text(str(step.verdict), style=_STYLES[step.verdict]), took, _why(step))
    console.print(table)


def _headline(plan: Plan) -> str:
    if plan.nothing_to_do:
        return "nothing to do"
    if plan.is_blocked:
        return "blocked"
    time = f"about {duration(plan.seconds)}" if plan.seconds is not None else "never built here: no estimate"
    return f"{time}, {amount(plan.needs.memory)} of memory, {amount(plan.needs.disk)} of disk"


def _why(step: PlannedStep) -> Text:
    more = len(step.changes) - _SHOWN
    return Text("\n".join([step.reason, *step.changes[:_SHOWN], *([f"and {more} more (--json)"] if more > 0 else [])]))
