"""One build to one cloud: choose stores and format, hold the lock, run the transaction, say how it ended."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.progress import Progress, nothing
from pipeline.engine.result import BuildResult
from pipeline.publishing import clouds, lock, marks, publication, release, stores
from pipeline.publishing.chain_publication import ChainPublication
from pipeline.publishing.image_api import ImageApi
from pipeline.publishing.journal import Journal, journal_file, lock_file
from pipeline.publishing.patience import Patience
from pipeline.publishing.publication import Outcome, PartResult, Terms
from pipeline.publishing.situation import Viewpoint
from pipeline.recipes.nightly import Target
from pipeline.signing.certificates import LocalCertificates


@dataclass(frozen=True)
class Sender:
    """Who publishes, from where, in which run, at which moment."""

    home: Home
    run: str
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    publisher: str = marks.DEFAULT_PUBLISHER
    patience: Patience = field(default_factory=Patience)

    @property
    def runner(self) -> str:
        """This installation's name on records in clouds: random, so that it tells nothing of the host."""
        file = self.home.root / "publishing" / "runner"
        if not file.is_file():
            atomic.write_text(file, f"{uuid.uuid4()}\n")
        return file.read_text().strip()

    def connect(self, cloud: str) -> ImageApi:
        """A connection to ``cloud``."""
        return clouds.connect(self.home, cloud, patience=self.patience)

    def viewpoint(self) -> Viewpoint:
        """How this sender looks at a chain."""
        return Viewpoint(self.runner, self.now)


@dataclass(frozen=True)
class Delivery:
    """How publishing one recipe to one cloud ended. ``error`` is set when it failed."""

    recipe: str
    cloud: str
    outcome: Outcome
    parts: tuple[PartResult, ...] = ()
    seconds: float = 0.0
    error: PipelineError | None = None
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def disk(self) -> PartResult | None:
        """The part that guests start from."""
        return next((part for part in self.parts if part.part is marks.Part.DISK), None)


def deliver(
    build: BuildResult, target: Target, sender: Sender, terms: Terms | None = None, progress: Progress = nothing
) -> Delivery:
    """Publish ``build`` to ``target``. Failures are in the result; nothing is raised for them."""
    began = time.monotonic()
    recipe = build.recipe.name
    try:
        parts = _deliver(build, target, sender, terms or Terms(), progress)
    except PipelineError as error:
        return Delivery(recipe, target.cloud, Outcome.FAILED, (), time.monotonic() - began, _with_notes(error))
    outcome = max((part.outcome for part in parts), key=list(Outcome).index)
    return Delivery(recipe, target.cloud, outcome, tuple(parts), time.monotonic() - began, None, _timings(parts))


def _deliver(build: BuildResult, target: Target, sender: Sender, terms: Terms, progress: Progress) -> list[PartResult]:
    api = sender.connect(target.cloud)
    recipe = build.recipe
    with lock.held(
        lock_file(sender.home, target.cloud, recipe.name), f"publishing {recipe.name} to cloud {target.cloud}"
    ):
        there = api.stores()
        chosen = stores.choose(there, target.stores or recipe.publish.stores, target.cloud)
        product = release.choose_product(build, [store for store in there if store.id in chosen])
        wanted = release.disk(build, product, sender.publisher, sender.now)
        part = ChainPublication(
            api=api,
            wanted=wanted,
            journal=Journal(journal_file(sender.home, target.cloud, recipe.name), sender.run),
            view=sender.viewpoint(),
            certificates=_certificates(sender.home),
            stores=chosen,
            progress=progress,
        )
        return publication.publish([part], terms)


def _certificates(home: Home) -> LocalCertificates:
    return LocalCertificates(Path(home.certificates))


def _timings(parts: list[PartResult]) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in parts:
        for stage, seconds in part.seconds.items():
            found[stage] = found.get(stage, 0.0) + seconds
    return found


def _with_notes(error: PipelineError) -> PipelineError:
    notes = getattr(error, "__notes__", ())
    if not notes:
        return error
    return PipelineError(error.message, hint=error.hint, details=[*error.details, *notes])
