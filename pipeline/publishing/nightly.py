"""Run a night: build recipes, publish them to every target, rotate old images, and report the outcome."""

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
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.keys.lock_file import LockFile
from pipeline.engine.plan.plan import PlannedAction, plan
from pipeline.engine.record.history import BuildHistory as StepHistory
from pipeline.engine.record.result import BuildResult
from pipeline.engine.run.options import BuildOptions
from pipeline.publishing import bundled, publish_many
from pipeline.publishing.cloud import connect, ownership_marker
from pipeline.publishing.cloud.retry import CloudRetryPolicy
from pipeline.publishing.history import NightEntry, NightHistory
from pipeline.publishing.plan.clock import Clock
from pipeline.publishing.publish_one import PublishResult
from pipeline.publishing.retention.rotation import deletes
from pipeline.publishing.rotate import RecipeRotation, rotate_all
from pipeline.publishing.sender import Sender
from pipeline.publishing.transaction.transaction import PublishOutcome
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.nightly import Nightly, Target

Builder = Callable[[Sequence[Recipe], BuildOptions], list[BuildResult]]


@dataclass(frozen=True)
class Night:
    """One nightly run, as it ended. ``reasons`` says by recipe why it was built; ``notes`` are for a person."""

    run: str
    began: datetime
    seconds: float
    builds: Sequence[BuildResult]
    publish_results: Sequence[PublishResult]
    rotations: Sequence[RecipeRotation] = ()
    reasons: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def is_good(self) -> bool:
        """Whether consumers have what every recipe makes, on every cloud, and nothing else failed."""
        return (
            all(build.is_good for build in self.builds)
            and all(each.outcome.is_good for each in self.publish_results)
            and all(each.error is None for each in self.rotations)
        )

    @property
    def changed_nothing(self) -> bool:
        """Whether everything was built and published already."""
        return self.is_good and all(each.outcome is PublishOutcome.UNCHANGED for each in self.publish_results)


def new_run(now: datetime) -> str:
    """Make a name for a run: sorts by time, and no two are alike."""
    return f"{ownership_marker.version_stamp(now)}-{secrets.token_hex(3)}"


def prepare(home: Home, targets: Sequence[Target]) -> None:
    """Start the bundled service, as a process of its own, when a target needs it and it isn't running."""
    if any(target.cloud == connect.BUNDLED for target in targets) and not connect.is_operators(connect.BUNDLED):
        bundled.ensure_running(home)


def run(
    recipes: Sequence[Recipe],
    settings: Nightly,
    options: BuildOptions,
    *,
    builder: Builder = build,
    retry_policy: CloudRetryPolicy | None = None,
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
    former = {target.cloud: target.owners for target in settings.targets}
    sender = Sender(home, new_run(clock.start), clock, retry_policy=retry_policy or CloudRetryPolicy(), former=former)
    publish_results = publish_many.publish_all(builds, settings.targets, sender, monitors=options.monitors)
    for publish_result in publish_results:
        _remember(
            home, publish_result, next(each for each in builds if each.recipe.name == publish_result.recipe), sender
        )
    whole = all(build.is_good for build in builds) and all(each.outcome.is_good for each in publish_results)
    rotations = rotate_all(
        recipes, [target.cloud for target in settings.targets], sender, delete=settings.delete_old and whole
    )
    notes = _notes(rotations, whole=whole, delete=settings.delete_old)
    return Night(sender.run, clock.start, time.monotonic() - began, builds, publish_results, rotations, reasons, notes)


def why_built(recipes: Sequence[Recipe], options: BuildOptions) -> dict[str, list[str]]:
    """Return, for each recipe, why steps will run, as the engine's plan gives it; empty when none will."""
    store = CacheStore.open(options.home.cache)
    with closing(StepHistory(options.home)) as history:
        plans = [
            plan(recipe, registry.STEPS, store, history, LockFile(options.locks, recipe.name)) for recipe in recipes
        ]
    return {
        each.recipe: [
            f"{step.name}: {', '.join([step.reason, *step.changes])}"
            for step in each.steps
            if step.verdict is not PlannedAction.CACHED
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


def _remember(home: Home, publish_result: PublishResult, build: BuildResult, sender: Sender) -> None:
    record = publish_result.disk.record if publish_result.disk else None
    steps = {step.name: round(step.seconds, 2) for step in build.steps}
    NightHistory(home, publish_result.recipe).add(
        NightEntry(
            run=sender.run,
            time=ownership_marker.time_text(sender.now),
            cloud=publish_result.cloud,
            outcome=str(publish_result.outcome),
            size=record.size if record else None,
            sha512=(record.sha512 or "") if record else "",
            image=record.id if record else "",
            seconds={**steps, **{stage: round(seconds, 2) for stage, seconds in publish_result.timings.items()}},
        )
    )
