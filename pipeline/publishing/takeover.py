"""Make images of a former project ours, because a person names that project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.errors import CloudForbidden
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.owners import Owners
from pipeline.publishing.cloud.ownership_marker import ImagePart
from pipeline.publishing.cloud.patch import RecordPatch
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.plan.steps import Act, PlannedAct
from pipeline.publishing.sender import Sender
from pipeline.publishing.transaction.journal import PublishJournal, journal_file
from pipeline.publishing.transaction.ledger import Ledger


def found(api: ImageApi, publisher: str, owner: str = "") -> list[ImageRecord]:
    """Return images with our marks that another project owns, by recipe: all of ``owner``, else a page of those of any.

    Locks are none of them.
    """
    marks = {ownership_marker.PUBLISHER: publisher}
    ours = api.owners.project == owner != ""
    marked = [] if ours else api.known_as(Owners(owner)).images(**marks) if owner else api.others(**marks)
    return sorted((each for each in marked if each.state and each.recipe), key=lambda each: each.recipe or "")


def take_over(
    images: Sequence[ImageRecord], cloud: str, sender: Sender, progress: Progress = nothing
) -> Iterator[ImageRecord]:
    """Make ``images``, sorted by recipe, ours one by one, each recipe behind its lock; yields them as they are then.

    Only administrators may do that. Raises ``PipelineError``.
    """
    api = sender.connect(cloud)
    for recipe, group in groupby(images, key=lambda each: each.recipe or ""):
        journal = PublishJournal(journal_file(sender.home, cloud, recipe), sender.run)
        with sender.locked(api, recipe, "taking over", progress) as locked:
            owner = RecordPatch({"owner": locked.owners.project})
            ledger = Ledger(locked, journal, [_step(each, owner) for each in group])
            for step in ledger.steps:
                yield _done(ledger, step, owner)


def _step(record: ImageRecord, owner: RecordPatch) -> PlannedAct:
    why = f"project {record.owner} was ours, says a person"
    return PlannedAct(
        Act.TAKE_OVER, record.part or ImagePart.DISK, record.id, record.name, why, record, lambda _: owner
    )


def _done(ledger: Ledger, step: PlannedAct, owner: RecordPatch) -> ImageRecord:
    try:
        with ledger.step(step):
            return ledger.api.patch(step.image, owner)
    except CloudForbidden as error:
        raise PipelineError(
            f"this user may not change whose image {step.image} is: {error.message}",
            hint="let an administrator do it, or write owners: [PROJECT] at the target in recipes/nightly.yaml",
        ) from None
