"""Publish one build to one cloud: choose stores and format, hold the lock, run the transaction, say how it ended."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from cryptography import x509

from pipeline.base import atomic, locks
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.progress import Progress, nothing
from pipeline.publishing.cloud import connect as cloud_connect
from pipeline.publishing.cloud import ownership_marker, stores
from pipeline.publishing.cloud.errors import Contended
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.cloud.retry import CloudRetryPolicy
from pipeline.publishing.contents.diff import ContentsDiff
from pipeline.publishing.plan import name_conflicts
from pipeline.publishing.plan.chain_state import Viewpoint
from pipeline.publishing.plan.clock import Clock
from pipeline.publishing.plan.desired import DesiredImage
from pipeline.publishing.plan.observe import ObservedImage, observe_image
from pipeline.publishing.plan.plan import PublishOptions, PublishPlan, plan
from pipeline.publishing.plan.steps import PlannedAct, differences
from pipeline.publishing.sources.build import Offer
from pipeline.publishing.transaction import cloud_lock, known_project, shown_plan
from pipeline.publishing.transaction.cloud_lock import LockScope
from pipeline.publishing.transaction.journal import PublishJournal, journal_file, lock_file
from pipeline.publishing.transaction.transaction import PartResult, PublishOutcome, Transaction
from pipeline.recipes.nightly import Target
from pipeline.signing.trust.certificates import CertificateSource, LocalCertificates


@dataclass(frozen=True)
class Sender:
    """Who publishes, from where, in which run, by which clock; ``former``: projects whose images are ours, by cloud."""

    home: Home
    run: str
    clock: Clock = field(default_factory=Clock)
    publisher: str = ownership_marker.DEFAULT_PUBLISHER
    retry_policy: CloudRetryPolicy = field(default_factory=CloudRetryPolicy)
    former: Mapping[str, Sequence[str]] = field(default_factory=dict)

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

    def connect(self, cloud: str, former: Sequence[str] = ()) -> ImageApi:
        """Return a connection to ``cloud``; images of the projects ``former`` are ours, too."""
        owners = former or self.former.get(cloud, ())
        return cloud_connect.connect(self.home, cloud, retry_policy=self.retry_policy, former=owners)

    def looking(self, cloud: str, former: Sequence[str] = ()) -> ImageApi:
        """As ``connect``, to look only: whose images are ours may be remembered from earlier runs."""
        return known_project.recalled(self.home, self.connect(cloud, former))

    def viewpoint(self, *, alone: bool = False) -> Viewpoint:
        """Return how this sender looks at a chain; ``alone``, since it has locked it or nobody has."""
        return Viewpoint(self.runner, self.clock, alone)

    def scope(self, api: ImageApi, recipe: str) -> LockScope:
        """Return what this sender locks to work on ``recipe``."""
        return LockScope(api, self.publisher, recipe, self.runner, self.run)

    @contextlib.contextmanager
    def locked(self, api: ImageApi, recipe: str, what: str, progress: Progress = nothing) -> Iterator[ImageApi]:
        """Hold ``recipe`` on a cloud against other runs, here and elsewhere; work on it with the API this yields.

        Raises ``Contended`` when another run is at work on it.
        """
        with (
            locks.held(
                lock_file(self.home, api.cloud, recipe),
                f"{what} {recipe} on cloud {api.cloud}",
                wait=self.retry_policy.settle,
                progress=progress,
                refusal=_contended,
            ),
            cloud_lock.held(self.scope(api, recipe), progress) as guarded,
        ):
            if not api.owners.are_known:
                known_project.remember(self.home, guarded)
            yield guarded


@dataclass(frozen=True)
class PublishResult:
    """How publishing one recipe to one cloud ended. ``error`` is set when it failed.

    ``difference`` is what changed inside since the image published before, when both are known; ``deviations`` what was
    planned otherwise than ``--plan`` had shown last; ``strangers`` are images of other projects with our marks or name,
    which were left alone.
    """

    recipe: str
    cloud: str
    outcome: PublishOutcome
    parts: tuple[PartResult, ...] = ()
    seconds: float = 0.0
    error: PipelineError | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    held: tuple[str, ...] = ()
    difference: ContentsDiff | None = None
    deviations: tuple[str, ...] = ()
    strangers: tuple[ImageRecord, ...] = ()

    @property
    def disk(self) -> PartResult | None:
        """The part that guests start from."""
        return next((part for part in self.parts if part.part is ownership_marker.ImagePart.DISK), None)


def publish_one(
    offer: Offer, target: Target, sender: Sender, options: PublishOptions | None = None, progress: Progress = nothing
) -> PublishResult:
    """Publish ``offer`` to ``target``. Failures are in the result; nothing is raised for them."""
    began = time.monotonic()
    attempt = _Attempt(offer, target, sender, options or PublishOptions(), progress)
    try:
        parts = attempt.run()
    except PipelineError as error:
        failed = PublishResult(offer.recipe, target.cloud, PublishOutcome.FAILED, seconds=time.monotonic() - began)
        found = replace(failed, deviations=attempt.deviations, strangers=attempt.strangers)
        return replace(found, error=_with_notes(error), timings=attempt.timings)
    return PublishResult(
        recipe=offer.recipe,
        cloud=target.cloud,
        outcome=max((part.outcome for part in parts), key=list(PublishOutcome).index),
        parts=tuple(parts),
        seconds=time.monotonic() - began,
        timings=attempt.timings,
        held=attempt.held,
        difference=attempt.difference,
        deviations=attempt.deviations,
        strangers=attempt.strangers,
    )


@dataclass(frozen=True)
class Preview:
    """What publishing one recipe to one cloud would do. ``error`` is set when that cannot be said.

    ``strangers`` are images of other projects with our marks or name, which are left alone; ``project`` is the one
    whose images were taken for ours, where the token does not tell that.
    """

    recipe: str
    cloud: str
    steps: tuple[PlannedAct, ...] = ()
    error: PipelineError | None = None
    strangers: tuple[ImageRecord, ...] = ()
    project: str = ""


def preview(offer: Offer, target: Target, sender: Sender, options: PublishOptions | None = None) -> Preview:
    """Return what ``publish_one`` would do, without changing anything there; what was said is remembered until it is
    done.
    """
    attempt = _Attempt(offer, target, sender, options or PublishOptions(), nothing)
    try:
        steps = attempt.preview()
    except PipelineError as error:
        return Preview(offer.recipe, target.cloud, error=error, strangers=attempt.strangers)
    shown_plan.keep(sender.home, target.cloud, offer.recipe, steps)
    return Preview(offer.recipe, target.cloud, steps, strangers=attempt.strangers, project=attempt.project)


class _Attempt:
    """One offer on its way to one cloud."""

    def __init__(
        self, offer: Offer, target: Target, sender: Sender, options: PublishOptions, progress: Progress
    ) -> None:
        self.offer = offer
        self.target = target
        self.sender = sender
        self.options = options
        self.progress = progress
        self.held: tuple[str, ...] = ()
        self.difference: ContentsDiff | None = None
        self.deviations: tuple[str, ...] = ()
        self.strangers: tuple[ImageRecord, ...] = ()
        self.project = ""
        self.timings: Mapping[str, float] = {}

    def run(self) -> list[PartResult]:
        """Do it. Raises ``PipelineError``."""
        api = self.sender.connect(self.target.cloud, self.target.owners)
        with self.sender.locked(api, self.offer.recipe, "publishing", self.progress) as locked:
            desired, stores_chosen = self._desired(locked)
            self._find_strangers(locked, desired)
            transaction = Transaction(
                api=locked,
                journal=self._journal(),
                look=lambda: self._look(locked, desired, stores_chosen, alone=True),
                options=self.options,
                certificates=self._certificates({each.chain.part: each for each in desired}),
                progress=self.progress,
            )
            try:
                return transaction.publish(planned=self._compare)
            finally:
                self.timings = transaction.seconds
                self.held = transaction.plan.held if transaction.plan else ()

    def preview(self) -> tuple[PlannedAct, ...]:
        """Return what ``run`` would do. Raises ``PipelineError``."""
        api = self.sender.looking(self.target.cloud, self.target.owners)
        desired, stores_chosen = self._desired(api)
        self._find_strangers(api, desired)
        if api.owners.is_remembered:
            self.project = api.owners.project or ""
        api = known_project.as_nobody(api, self.strangers)
        alone = self.sender.scope(api, self.offer.recipe).is_free()
        return plan(self._look(api, desired, stores_chosen, alone=alone), self.options).steps

    def _desired(self, api: ImageApi) -> tuple[list[DesiredImage], tuple[str, ...]]:
        """Return the images for this target, the disk last, and the stores that they go to."""
        there = api.stores()
        chosen = stores.choose(there, self.target.stores or self.offer.stores, self.target.cloud)
        return self.offer.parts(self.target, stores.holding(there, chosen)), chosen

    def _find_strangers(self, api: ImageApi, desired: list[DesiredImage]) -> None:
        self.strangers = tuple(name_conflicts.strangers(api, desired))

    def _look(
        self, api: ImageApi, desired: list[DesiredImage], chosen: tuple[str, ...], *, alone: bool
    ) -> ObservedImage:
        disk = desired[-1]
        same_name = name_conflicts.same_name(api, disk) if self.options.only_new else []
        if not same_name:
            name_conflicts.refuse(api, disk)
        return observe_image(
            api,
            desired,
            self.sender.viewpoint(alone=alone),
            copy_refused=self._journal().copy_was_refused(),
            stores=chosen,
            method=self.options.method,
            gates=lambda newest: self._gates(disk, newest),
            same_name=same_name,
        )

    def _compare(self, now: PublishPlan) -> None:
        """Say what is otherwise planned than a person was shown, before any of it is done."""
        shown = shown_plan.take(self.sender.home, self.target.cloud, self.offer.recipe)
        if shown is not None:
            self.deviations = tuple(differences(shown, now.steps))
        for deviation in self.deviations:
            self.progress.say(f"other than in the plan shown before: {deviation}")

    def _journal(self) -> PublishJournal:
        return PublishJournal(journal_file(self.sender.home, self.target.cloud, self.offer.recipe), self.sender.run)

    def _certificates(
        self, desired: Mapping[ownership_marker.ImagePart, DesiredImage]
    ) -> Callable[..., CertificateSource]:
        local = LocalCertificates(self.sender.home.certificates)

        def of(part: ownership_marker.ImagePart) -> CertificateSource:
            known = desired[part].certificate
            return _Renamed(local, {self.target.certificate or "": known}) if known else local

        return of

    def _gates(self, disk: DesiredImage, newest: ImageRecord | None) -> tuple[str, ...]:
        self.difference = self.offer.difference(newest)
        return self.offer.gates(disk, newest)


@dataclass(frozen=True)
class _Renamed:
    """Certificates that a cloud knows by other ids: its id → ours."""

    local: LocalCertificates
    ids: Mapping[str, str]

    def get(self, identity: str) -> x509.Certificate:
        return self.local.get(self.ids.get(identity, identity))


def _contended(who: str) -> Contended:
    return Contended(
        f"another run on this machine is at work on it: {who}",
        hint="let it finish; it ends by itself or shows where it waits",
    )


def _with_notes(error: PipelineError) -> PipelineError:
    notes = getattr(error, "__notes__", ())
    if not notes:
        return error
    return PipelineError(error.message, hint=error.hint, details=[*error.details, *notes])
