"""The nightly run: recipes are built, published to every target, and the outcome is told."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.base.home import Home
from pipeline.engine.build import build
from pipeline.engine.options import BuildOptions
from pipeline.engine.result import BuildResult
from pipeline.publishing import bundled, campaign, clouds, marks
from pipeline.publishing.delivery import Delivery, Sender
from pipeline.publishing.patience import Patience
from pipeline.publishing.publication import Outcome
from pipeline.recipes.model import Recipe
from pipeline.recipes.nightly import Target

Builder = Callable[[Sequence[Recipe], BuildOptions], list[BuildResult]]


@dataclass(frozen=True)
class Night:
    """One nightly run, as it ended."""

    run: str
    began: datetime
    seconds: float
    builds: Sequence[BuildResult]
    deliveries: Sequence[Delivery]

    @property
    def is_good(self) -> bool:
        """Whether consumers have what every recipe makes, on every cloud."""
        return all(build.is_good for build in self.builds) and all(each.outcome.is_good for each in self.deliveries)

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
    targets: Sequence[Target],
    options: BuildOptions,
    *,
    builder: Builder = build,
    patience: Patience | None = None,
    now: datetime | None = None,
) -> Night:
    """Build ``recipes`` and publish them to ``targets``.

    Failures of single recipes and clouds are in the result.
    """
    began = now or datetime.now(UTC)
    clock = time.monotonic()
    home = options.home
    prepare(home, targets)
    builds = builder(recipes, options)
    sender = Sender(home, new_run(began), began, patience=patience or Patience())
    deliveries = campaign.publish_all(builds, targets, sender, monitors=options.monitors)
    return Night(sender.run, began, time.monotonic() - clock, builds, deliveries)
