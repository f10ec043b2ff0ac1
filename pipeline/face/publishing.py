"""``./inv publish`` and ``./inv nightly``: from recipes to clouds, and how it ended."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import ValidationError
from rich.console import Console

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.engine.build import build as build_all
from pipeline.engine.monitors.choice import choose
from pipeline.engine.options import BuildOptions
from pipeline.face import building
from pipeline.face.task import Exit
from pipeline.publishing import campaign, nightly, tables
from pipeline.publishing.delivery import Delivery, Sender
from pipeline.recipes.nightly import Nightly, Target

_SETTINGS = building.RECIPES / "nightly.yaml"


def publish(
    names: Sequence[str], settings: Sequence[str] = (), *, cloud: str = "", stores: str = "", ci: bool = False
) -> None:
    """Build what has changed of the recipes ``names`` and publish them; end with status 1 when something failed."""
    recipes = building.load(names, settings)
    targets = _targets(cloud, stores)
    home = Home.default()
    nightly.prepare(home, targets)
    monitors = (choose(ci=ci),)
    builds = build_all(recipes, BuildOptions(home=home, monitors=monitors))
    now = datetime.now(UTC)
    deliveries = campaign.publish_all(builds, targets, Sender(home, nightly.new_run(now), now), monitors=monitors)
    _tell(deliveries)


def run_nightly(*, ci: bool = False, locked: bool = False) -> None:
    """Build and publish what ``recipes/nightly.yaml`` lists; end with status 1 when something failed.

    First it looks at everything the recipes take from outside, so that updates arrive; not if ``locked``.
    """
    settings = Nightly.load(_SETTINGS)
    recipes = building.load(settings.recipes)
    options = BuildOptions(monitors=(choose(ci=ci),), fresh=not locked, locked=locked)
    night = nightly.run(recipes, settings.targets, options)
    if night.changed_nothing:
        tables.show(night.deliveries)
        Console().print("nothing has changed since the last run: nothing was published", style="bold green")
        return
    _tell(night.deliveries)


def _tell(deliveries: Sequence[Delivery]) -> None:
    tables.show(deliveries)
    if not all(each.outcome.is_good for each in deliveries):
        raise SystemExit(Exit.FAILED)


def _targets(cloud: str, stores: str) -> tuple[Target, ...]:
    """The cloud that is named, with the stores that are named, else those of the nightly run."""
    chosen = tuple(name for name in re.split(r"[,\s]+", stores) if name)
    try:
        if cloud:
            return (Target(cloud=cloud, stores=chosen),)
        known = Nightly.load(_SETTINGS).targets
        return tuple(Target(cloud=target.cloud, stores=chosen) for target in known) if chosen else known
    except ValidationError as error:
        wrong = error.errors()[0]
        raise PipelineError(f"--{wrong['loc'][0]}: {wrong['input']!r} is not a name: {wrong['msg']}") from None
