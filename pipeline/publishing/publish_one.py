"""Publish one build to one cloud: choose stores and format, hold the lock, run the transaction, say how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from cryptography import x509

from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.publishing.cloud import ownership_marker, stores
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.contents.diff import ContentsDiff
from pipeline.publishing.plan import name_conflicts
from pipeline.publishing.plan.desired import DesiredImage
from pipeline.publishing.plan.observe import ObservedImage, observe_image
from pipeline.publishing.plan.plan import PublishOptions, PublishPlan, plan
from pipeline.publishing.plan.steps import PlannedAct, differences
from pipeline.publishing.sender import Sender
from pipeline.publishing.sources.build import PublishSource
from pipeline.publishing.transaction import known_project, shown_plan
from pipeline.publishing.transaction.journal import PublishJournal, journal_file
from pipeline.publishing.transaction.transaction import PartResult, PublishOutcome, Transaction
from pipeline.recipes.nightly import Target
from pipeline.signing.trust.certificates import CertificateSource, LocalCertificates


@dataclass(frozen=True)
class PublishResult:
    """How publishing one recipe to one cloud ended. ``error`` is set when it failed.

    ``difference`` is what changed inside since the image published before, when both are known; ``deviations`` what was
    planned otherwise than ``--plan`` had shown last; ``strangers`` are images of other projects with our marks or name,
    which were left alone; ``remarks`` what the cloud's definitions of properties say of ours.
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
    remarks: tuple[str, ...] = ()

    @property
    def disk(self) -> PartResult | None:
        """The part that guests start from."""
        return next((part for part in self.parts if part.part is ownership_marker.ImagePart.DISK), None)


def publish_one(
    source: PublishSource,
    target: Target,
    sender: Sender,
    options: PublishOptions | None = None,
    progress: Progress = nothing,
) -> PublishResult:
    """Publish ``source`` to ``target``. Failures are in the result; nothing is raised for them."""
    began = time.monotonic()
    attempt = _Attempt(source, target, sender, options or PublishOptions(), progress)
    try:
        parts = attempt.run()
    except PipelineError as error:
        failed = PublishResult(source.recipe, target.cloud, PublishOutcome.FAILED, seconds=time.monotonic() - began)
        found = replace(failed, deviations=attempt.deviations, strangers=attempt.strangers, remarks=attempt.remarks)
        return replace(found, error=_with_notes(error), timings=attempt.timings)
    return PublishResult(
        recipe=source.recipe,
        cloud=target.cloud,
        outcome=max((part.outcome for part in parts), key=list(PublishOutcome).index),
        parts=tuple(parts),
        seconds=time.monotonic() - began,
        timings=attempt.timings,
        held=attempt.held,
        difference=attempt.difference,
        deviations=attempt.deviations,
        strangers=attempt.strangers,
        remarks=attempt.remarks,
    )


@dataclass(frozen=True)
class Preview:
    """What publishing one recipe to one cloud would do. ``error`` is set when that cannot be said.

    ``strangers`` are images of other projects with our marks or name, which are left alone; ``project`` is the one
    whose images were taken for ours, where the token does not tell that; ``remarks`` are what the cloud's definitions
    of properties say of ours.
    """

    recipe: str
    cloud: str
    steps: tuple[PlannedAct, ...] = ()
    error: PipelineError | None = None
    strangers: tuple[ImageRecord, ...] = ()
    project: str = ""
    remarks: tuple[str, ...] = ()


def preview(source: PublishSource, target: Target, sender: Sender, options: PublishOptions | None = None) -> Preview:
    """Return what ``publish_one`` would do, without changing anything there; what was said is remembered until it is
    done.
    """
    attempt = _Attempt(source, target, sender, options or PublishOptions(), nothing)
    try:
        steps = attempt.preview()
    except PipelineError as error:
        return Preview(source.recipe, target.cloud, error=error, strangers=attempt.strangers)
    shown_plan.keep(sender.home, target.cloud, source.recipe, steps)
    found = Preview(source.recipe, target.cloud, steps, strangers=attempt.strangers, project=attempt.project)
    return replace(found, remarks=attempt.remarks)


class _Attempt:
    """One source on its way to one cloud."""

    def __init__(
        self, source: PublishSource, target: Target, sender: Sender, options: PublishOptions, progress: Progress
    ) -> None:
        self.source = source
        self.target = target
        self.sender = sender
        self.options = options
        self.progress = progress
        self.held: tuple[str, ...] = ()
        self.difference: ContentsDiff | None = None
        self.deviations: tuple[str, ...] = ()
        self.strangers: tuple[ImageRecord, ...] = ()
        self.project = ""
        self.remarks: tuple[str, ...] = ()
        self.timings: Mapping[str, float] = {}

    def run(self) -> list[PartResult]:
        """Do it. Raises ``PipelineError``."""
        api = self.sender.connect(self.target.cloud, self.target.owners)
        with self.sender.locked(api, self.source.recipe, "publishing", self.progress) as locked:
            desired, stores_chosen = self._desired(locked)
            self._find_strangers(locked, desired)
            self._ask_definitions(locked, desired)
            for remark in self.remarks:
                self.progress.say(remark)
            transaction = Transaction(
                api=locked,
                journal=self._journal(),
                look=lambda: self._look(locked, desired, stores_chosen, exclusive=True),
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
        self._ask_definitions(api, desired)
        if api.owners.is_remembered:
            self.project = api.owners.project or ""
        api = known_project.as_nobody(api, self.strangers)
        exclusive = self.sender.scope(api, self.source.recipe).is_free()
        return plan(self._look(api, desired, stores_chosen, exclusive=exclusive), self.options).steps

    def _desired(self, api: ImageApi) -> tuple[list[DesiredImage], tuple[str, ...]]:
        """Return the images for this target, the disk last, and the stores that they go to."""
        there = api.stores()
        chosen = stores.choose(there, self.target.stores or self.source.stores, self.target.cloud)
        return self.source.parts(self.target, stores.holding(there, chosen)), chosen

    def _find_strangers(self, api: ImageApi, desired: list[DesiredImage]) -> None:
        self.strangers = tuple(name_conflicts.strangers(api, desired))

    def _ask_definitions(self, api: ImageApi, desired: list[DesiredImage]) -> None:
        described = [each for each in desired if each.chain.part is not ownership_marker.ImagePart.PROOF]
        named = {name: value for each in described for name, value in each.properties.items()}
        self.remarks = self.sender.known.remarks(api, named)

    def _look(
        self, api: ImageApi, desired: list[DesiredImage], chosen: tuple[str, ...], *, exclusive: bool
    ) -> ObservedImage:
        disk = desired[-1]
        same_name = name_conflicts.same_name(api, disk) if self.options.only_new else []
        if not same_name:
            name_conflicts.refuse(api, disk)
        return observe_image(
            api,
            desired,
            self.sender.runner_context(exclusive=exclusive),
            copy_refused=self._journal().copy_was_refused(),
            stores=chosen,
            method=self.options.method,
            gates=lambda newest: self._gates(disk, newest),
            same_name=same_name,
            unread=self._journal().unread_copies,
        )

    def _compare(self, now: PublishPlan) -> None:
        """Say what is otherwise planned than a person was shown, before any of it is done."""
        shown = shown_plan.take(self.sender.home, self.target.cloud, self.source.recipe)
        if shown is not None:
            self.deviations = tuple(differences(shown, now.steps))
        for deviation in self.deviations:
            self.progress.say(f"other than in the plan shown before: {deviation}")

    def _journal(self) -> PublishJournal:
        return PublishJournal(journal_file(self.sender.home, self.target.cloud, self.source.recipe), self.sender.run)

    def _certificates(
        self, desired: Mapping[ownership_marker.ImagePart, DesiredImage]
    ) -> Callable[..., CertificateSource]:
        local = LocalCertificates(self.sender.home.certificates)

        def of(part: ownership_marker.ImagePart) -> CertificateSource:
            known = desired[part].certificate
            return _Renamed(local, {self.target.certificate or "": known}) if known else local

        return of

    def _gates(self, disk: DesiredImage, newest: ImageRecord | None) -> tuple[str, ...]:
        self.difference = self.source.difference(newest)
        return self.source.gates(disk, newest)


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
