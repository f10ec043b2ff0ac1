"""The nightly run: recipes are built, published to every target, old images rotated, and the outcome is told."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.base.home import Home
from pipeline.engine import registry
from pipeline.engine.build import build
from pipeline.engine.history import History as StepHistory
from pipeline.engine.lock_file import LockFile
from pipeline.engine.options import BuildOptions
from pipeline.engine.plan import Verdict, plan
from pipeline.engine.result import BuildResult
from pipeline.engine.store import Store
from pipeline.publishing import bundled, campaign, clouds, marks
from pipeline.publishing.clock import Clock
from pipeline.publishing.delivery import Delivery, Sender
from pipeline.publishing.history import Entry, History
from pipeline.publishing.patience import Patience
from pipeline.publishing.publication import Outcome
from pipeline.publishing.rotation import deletes
from pipeline.publishing.rotations import RecipeRotation, rotate_all
from pipeline.recipes.model import Recipe
from pipeline.recipes.nightly import Nightly, Target

Builder = Callable[[Sequence[Recipe], BuildOptions], list[BuildResult]]


@dataclass(frozen=True)
class Night:
    """One nightly run, as it ended. ``reasons`` says by recipe why it was built; ``notes`` are for a person."""

    run: str
    began: datetime
    seconds: float
    builds: Sequence[BuildResult]
    deliveries: Sequence[Delivery]
    rotations: Sequence[RecipeRotation] = ()
    reasons: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def is_good(self) -> bool:
        """Whether consumers have what every recipe makes, on every cloud, and nothing else failed."""
        return (
            all(build.is_good for build in self.builds)
            and all(each.outcome.is_good for each in self.deliveries)
            and all(each.error is None for each in self.rotations)
        )

    @property
    def changed_nothing(self) -> bool:
        """Whether everything was built and published already."""
        return self.is_good and all(each.outcome is Outcome.UNCHANGED for each in self.deliveries)


def new_run(now: datetime) -> str:
    """A name for a run: sorts by time, and no two are alike."""
    return f"{marks.version_stamp(now)}-{secrets.token_hex(3)}"


def prepare(home: Home, targets: Sequence[Target]) -> None:
    """Start the bundled service, as a process of its own, when a target needs it and it isn't running."""
    if any(target.cloud == clouds.BUNDLED for target in targets) and not clouds.is_operators(clouds.BUNDLED):
        bundled.ensure_running(home)


def run(
    recipes: Sequence[Recipe],
    settings: Nightly,
    options: BuildOptions,
    *,
    builder: Builder = build,
    patience: Patience | None = None,
    now: datetime | None = None,
) -> Night:
    """Build ``recipes`` and publish them as ``settings`` say; then let go what retention no longer keeps.

    Failures of single recipes and clouds are in the result.
    """
    began = time.monotonic()
    clock = Clock(now) if now else Clock()
    home = options.home
    prepare(home, settings.targets)
    builds = builder(recipes, options)
    reasons = {each.recipe.name: each.reasons for each in builds}
    sender = Sender(home, new_run(clock.start), clock, patience=patience or Patience())
    deliveries = campaign.publish_all(builds, settings.targets, sender, monitors=options.monitors)
    for delivery in deliveries:
        _remember(home, delivery, next(each for each in builds if each.recipe.name == delivery.recipe), sender)
    whole = all(build.is_good for build in builds) and all(each.outcome.is_good for each in deliveries)
    rotations = rotate_all(
        recipes, [target.cloud for target in settings.targets], sender, delete=settings.delete_old and whole
    )
    notes = _notes(rotations, whole=whole, delete=settings.delete_old)
    return Night(sender.run, clock.start, time.monotonic() - began, builds, deliveries, rotations, reasons, notes)


def why_built(recipes: Sequence[Recipe], options: BuildOptions) -> dict[str, list[str]]:
    """For each recipe the reasons why steps will run, as the engine's plan gives them; empty when none will."""
    store = Store.open(options.home.cache)
    with closing(StepHistory(options.home)) as history:
        plans = [
            plan(recipe, registry.STEPS, store, history, LockFile(options.locks, recipe.name)) for recipe in recipes
        ]
    return {
        each.recipe: [
            f"{step.name}: {', '.join([step.reason, *step.changes])}"
            for step in each.steps
            if step.verdict is not Verdict.CACHED
        ]
        for each in plans
    }


def _notes(rotations: Sequence[RecipeRotation], *, whole: bool, delete: bool) -> list[str]:
    waiting = sum(len(deletes(each.rotated)) for each in rotations)
    if not waiting or (whole and delete):
        return []
    old = f"{waiting} old image{'s' if waiting > 1 else ''} could be deleted"
    if not delete:
        return [f"{old}; ./inv rotate --yes does it, delete_old: true in recipes/nightly.yaml does it every night"]
    return [f"{old}; nothing is deleted on a night on which anything failed or was held back"]


def _remember(home: Home, delivery: Delivery, build: BuildResult, sender: Sender) -> None:
    record = delivery.disk.record if delivery.disk else None
    steps = {step.name: round(step.seconds, 2) for step in build.steps}
    History(home, delivery.recipe).add(
        Entry(
            run=sender.run,
            time=marks.time_text(sender.now),
            cloud=delivery.cloud,
            outcome=str(delivery.outcome),
            size=record.size if record else None,
            sha512=(record.sha512 or "") if record else "",
            image=record.id if record else "",
            seconds={**steps, **{stage: round(seconds, 2) for stage, seconds in delivery.timings.items()}},
        )
    )
