"""One build to one cloud: choose stores and format, hold the lock, run the transaction, say how it ended."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from cryptography import x509

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.progress import Progress, nothing
from pipeline.publishing import cloud_lock, clouds, lock, marks, plan, publication, rivals, stores
from pipeline.publishing.chain_publication import ChainPublication
from pipeline.publishing.clock import Clock
from pipeline.publishing.cloud_lock import Place
from pipeline.publishing.difference import Difference
from pipeline.publishing.image_api import ImageApi
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.journal import Journal, journal_file, lock_file
from pipeline.publishing.patience import Patience
from pipeline.publishing.plan import Step
from pipeline.publishing.publication import Outcome, PartResult, Terms
from pipeline.publishing.release import Offer
from pipeline.publishing.situation import Viewpoint
from pipeline.publishing.wanted import Wanted
from pipeline.recipes.nightly import Target
from pipeline.signing.certificates import CertificateSource, LocalCertificates


@dataclass(frozen=True)
class Choice:
    """What a person decided: to show an image although a gate tripped, to publish again what was taken back, to leave
    alone what exists with other bytes, the method by which the cloud is to import images (empty: as it offers).
    """

    let_through: bool = False
    again: bool = False
    only_new: bool = False
    method: str = ""


@dataclass(frozen=True)
class Sender:
    """Who publishes, from where, in which run, by which clock."""

    home: Home
    run: str
    clock: Clock = field(default_factory=Clock)
    publisher: str = marks.DEFAULT_PUBLISHER
    patience: Patience = field(default_factory=Patience)

    @property
    def now(self) -> datetime:
        """When the run began."""
        return self.clock.start

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

    def viewpoint(self, *, alone: bool = False) -> Viewpoint:
        """How this sender looks at a chain; ``alone``, since it has locked it or nobody has."""
        return Viewpoint(self.runner, self.clock, alone)

    def place(self, api: ImageApi, recipe: str) -> Place:
        """What this sender locks to work on ``recipe``."""
        return Place(api, self.publisher, recipe, self.runner, self.run)

    @contextlib.contextmanager
    def locked(self, api: ImageApi, recipe: str, what: str, progress: Progress = nothing) -> Iterator[ImageApi]:
        """Hold ``recipe`` on a cloud against other runs, here and elsewhere; work on it with the API this yields.

        Raises ``Contended`` when another run is at work on it.
        """
        with (
            lock.held(
                lock_file(self.home, api.cloud, recipe),
                f"{what} {recipe} on cloud {api.cloud}",
                self.patience,
                progress,
            ),
            cloud_lock.held(self.place(api, recipe), progress) as guarded,
        ):
            yield guarded


@dataclass(frozen=True)
class Delivery:
    """How publishing one recipe to one cloud ended. ``error`` is set when it failed.

    ``difference`` is what changed inside since the image published before, when both are known.
    """

    recipe: str
    cloud: str
    outcome: Outcome
    parts: tuple[PartResult, ...] = ()
    seconds: float = 0.0
    error: PipelineError | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    held: tuple[str, ...] = ()
    difference: Difference | None = None

    @property
    def disk(self) -> PartResult | None:
        """The part that guests start from."""
        return next((part for part in self.parts if part.part is marks.Part.DISK), None)


def deliver(
    offer: Offer, target: Target, sender: Sender, choice: Choice | None = None, progress: Progress = nothing
) -> Delivery:
    """Publish ``offer`` to ``target``. Failures are in the result; nothing is raised for them."""
    began = time.monotonic()
    attempt = _Attempt(offer, target, sender, choice or Choice(), progress)
    try:
        parts = attempt.run()
    except PipelineError as error:
        failed = Delivery(offer.recipe, target.cloud, Outcome.FAILED, seconds=time.monotonic() - began)
        return replace(failed, error=_with_notes(error), timings=attempt.timings())
    return Delivery(
        recipe=offer.recipe,
        cloud=target.cloud,
        outcome=max((part.outcome for part in parts), key=list(Outcome).index),
        parts=tuple(parts),
        seconds=time.monotonic() - began,
        timings=attempt.timings(),
        held=attempt.held,
        difference=attempt.difference,
    )


@dataclass(frozen=True)
class Preview:
    """What publishing one recipe to one cloud would do. ``error`` is set when that cannot be said."""

    recipe: str
    cloud: str
    steps: tuple[Step, ...] = ()
    error: PipelineError | None = None


def preview(offer: Offer, target: Target, sender: Sender, choice: Choice | None = None) -> Preview:
    """What ``deliver`` would do, without changing anything."""
    try:
        steps = _Attempt(offer, target, sender, choice or Choice(), nothing).preview()
    except PipelineError as error:
        return Preview(offer.recipe, target.cloud, error=error)
    return Preview(offer.recipe, target.cloud, tuple(steps))


class _Attempt:
    """One offer on its way to one cloud."""

    def __init__(self, offer: Offer, target: Target, sender: Sender, choice: Choice, progress: Progress) -> None:
        self.offer = offer
        self.target = target
        self.sender = sender
        self.choice = choice
        self.progress = progress
        self.parts: list[ChainPublication] = []
        self.held: tuple[str, ...] = ()
        self.difference: Difference | None = None

    def run(self) -> list[PartResult]:
        """Do it. Raises ``PipelineError``."""
        api = self.sender.connect(self.target.cloud)
        with self.sender.locked(api, self.offer.recipe, "publishing", self.progress) as locked:
            disk = self._assemble(locked, alone=True)
            if self.choice.only_new and rivals.same_name(locked, disk):
                return [PartResult(part.wanted.chain.part, Outcome.LEFT_ALONE, None) for part in self.parts]
            rivals.refuse(locked, disk)
            terms = Terms(self._gates(disk), self.choice.let_through, self.choice.again, self.choice.only_new)
            return publication.publish(self.parts, terms)

    def preview(self) -> list[Step]:
        """What ``run`` would do. Raises ``PipelineError``."""
        api = self.sender.connect(self.target.cloud)
        disk = self._assemble(api, alone=self.sender.place(api, self.offer.recipe).is_free())
        others = rivals.same_name(api, disk) if self.choice.only_new else []
        if not others:
            rivals.refuse(api, disk)
        looked = [(part.survey(), part.wanted) for part in self.parts]
        gates = () if self.choice.let_through else self._gates(disk)(looked[-1][0].newest)
        return plan.publication(looked, plan.Limits(gates, self.choice.again, self.choice.only_new, others))

    def _assemble(self, api: ImageApi, *, alone: bool) -> Wanted:
        """Make the parts for this target; return the disk."""
        there = api.stores()
        chosen = stores.choose(there, self.target.stores or self.offer.stores, self.target.cloud)
        wanted = self.offer.parts(self.target, stores.holding(there, chosen))
        view = self.sender.viewpoint(alone=alone)
        self.parts = [self._part(api, each, chosen, view) for each in wanted]
        return wanted[-1]

    def timings(self) -> dict[str, float]:
        """Seconds by stage, over all parts."""
        found: dict[str, float] = {}
        for part in self.parts:
            for stage, seconds in part.seconds.items():
                found[stage] = found.get(stage, 0.0) + seconds
        return found

    def _part(self, api: ImageApi, wanted: Wanted, chosen: tuple[str, ...], view: Viewpoint) -> ChainPublication:
        return ChainPublication(
            api=api,
            wanted=wanted,
            journal=Journal(journal_file(self.sender.home, self.target.cloud, self.offer.recipe), self.sender.run),
            view=view,
            certificates=self._certificates(wanted),
            stores=chosen,
            method=self.choice.method,
            progress=self.progress,
        )

    def _certificates(self, wanted: Wanted) -> CertificateSource:
        local = LocalCertificates(self.sender.home.certificates)
        if not wanted.certificate:
            return local
        return _Renamed(local, {self.target.certificate or "": wanted.certificate})

    def _gates(self, disk: Wanted) -> Callable[[ImageRecord | None], tuple[str, ...]]:
        def reasons(newest: ImageRecord | None) -> tuple[str, ...]:
            self.difference = self.offer.difference(newest)
            self.held = self.offer.gates(disk, newest)
            return self.held

        return reasons


@dataclass(frozen=True)
class _Renamed:
    """Certificates that a cloud knows by other ids: its id → ours."""

    local: LocalCertificates
    ids: Mapping[str, str]

    def get(self, identity: str) -> x509.Certificate:
        return self.local.get(self.ids.get(identity, identity))


def _with_notes(error: PipelineError) -> PipelineError:
    notes = getattr(error, "__notes__", ())
    if not notes:
        return error
    return PipelineError(error.message, hint=error.hint, details=[*error.details, *notes])
