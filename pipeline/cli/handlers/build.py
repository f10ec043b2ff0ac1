"""Carry out ``./inv build`` and ``./inv plan``: load recipes by name, and show what becomes of them."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rich.text import Text

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT, Home
from pipeline.base.plain_text import one_line
from pipeline.base.terminal import SafeConsole, SafeTable
from pipeline.cli.task import Exit
from pipeline.engine import registry
from pipeline.engine.build import build as build_all
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.keys.freshness import LookupMode, current
from pipeline.engine.keys.lock_file import LockFile
from pipeline.engine.keys.parallel import ReportingWait
from pipeline.engine.monitors.choice import choose
from pipeline.engine.monitors.units import duration
from pipeline.engine.plan import graph_svg
from pipeline.engine.plan.plan import Plan, PlannedAction, PlannedStep
from pipeline.engine.plan.plan import plan as plan_one
from pipeline.engine.record.history import BuildHistory
from pipeline.engine.record.result import BuildResult
from pipeline.engine.run.options import BuildOptions
from pipeline.engine.units.resources import amount
from pipeline.recipes import nightly
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.overrides import with_engine, with_source
from pipeline.recipes.model.recipe import Recipe

RECIPES = CHECKOUT / "recipes"
_SHOWN = 6
_STYLES = {PlannedAction.CACHED: "dim", PlannedAction.RUN: "yellow", PlannedAction.BLOCKED: "bold red"}


def load(names: Sequence[str], settings: Sequence[str] = (), source: str = "") -> list[Recipe]:
    """Return the recipes called ``names``, with variables set by ``name=value`` and installed from the file
    ``source``.
    """
    overrides = {}
    for setting in settings:
        match = re.fullmatch(r"([A-Za-z0-9_]+)=(.*)", setting, re.DOTALL)
        if not match:
            raise PipelineError(f"--set {setting}: write it as name=value")
        overrides[match[1]] = match[2]
    if not names:
        known = ", ".join(RecipeFolder(RECIPES).names())
        raise PipelineError("no recipe is named", hint=f"recipes: {known}")
    recipes = RecipeFolder(RECIPES, home=Home.default().root).load_all(names, overrides)
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
            recipe, registry.STEPS, file, LookupMode.FRESH, ReportingWait(functools.partial(_print_note, recipe.name))
        )
        known = f"{len(found)} sources are locked, none has changed" if found else "takes nothing from outside"
        print("\n".join(one_line(each) for each in news) or f"{recipe.name}: {known}")


def _print_note(recipe: str, text: str) -> None:
    print(one_line(f"{recipe}: {text}"), file=sys.stderr, flush=True)


def plan(
    names: Sequence[str],
    settings: Sequence[str] = (),
    *,
    source: str = "",
    cloud: str = "",
    as_json: bool = False,
    graph: str = "",
) -> None:
    """Show what a build would do, as a table, as JSON, or as a picture in the file ``graph``; and what is odd about the
    recipes' properties by what ``cloud`` defines.

    Ends with status 1 when a build would fail for something that is missing.
    """
    home = Home.default()
    recipes = load(names or nightly.names(RECIPES / "nightly.yaml"), settings, source)
    store = CacheStore.open(home.cache)
    with closing(BuildHistory(home)) as history:
        plans = [plan_one(recipe, registry.STEPS, store, history, LockFile(RECIPES, recipe.name)) for recipe in recipes]
    if graph:
        graph_svg.write(graph, plans)
    remarks = _remarks(home, cloud, recipes) if cloud else {}
    if as_json:
        documents = [each.as_dict() for each in plans]
        if cloud:
            documents = [{**each, "cloud": cloud, "remarks": remarks[each["recipe"]]} for each in documents]
        print(json.dumps(documents, indent=2))
    else:
        for each in plans:
            _show_plan(each, remarks.get(each.recipe, ()), cloud)
    if any(each.is_blocked for each in plans):
        raise SystemExit(Exit.FAILED)


def _remarks(home: Home, cloud: str, recipes: Sequence[Recipe]) -> dict[str, tuple[str, ...]]:
    """Return what a cloud's definitions say of each recipe's properties."""
    from pipeline.publishing.cloud import connect  # brings openstacksdk with it
    from pipeline.publishing.plan.definitions import CloudDefinitions

    api, known = connect.connect(home, cloud), CloudDefinitions()
    return {recipe.name: known.remarks(api, recipe.image_properties) for recipe in recipes}


def _show_plan(plan: Plan, remarks: Sequence[str] = (), cloud: str = "") -> None:
    console = SafeConsole()
    if plan.error:
        console.print(Text.assemble((plan.recipe, "bold"), "  ", (plan.error, "bold red")), soft_wrap=True)
        return
    console.print(Text.assemble((plan.recipe, "bold"), "  ", _headline(plan)))
    table = SafeTable.grid(padding=(0, 2))
    for step in plan.steps:
        took = duration(step.seconds) if step.seconds is not None else "?"
        table.add_row("", step.name, Text(str(step.verdict), style=_STYLES[step.verdict]), took, _why(step))
    console.print(table)
    for remark in remarks:
        console.print(Text(f"  {cloud}: {remark}", style="yellow"), soft_wrap=True)


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
