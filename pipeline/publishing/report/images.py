"""List what is published where: every image that carries our mark, and the history of one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.base.errors import PipelineError
from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.errors import OwnerUnknown
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.ownership_marker import Chain, ImageState
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.plan.chain_state import ObservedChain, observe
from pipeline.publishing.retention import policy as retention_policy
from pipeline.publishing.sender import Sender
from pipeline.publishing.transaction.journal import JournalEvent, PublishJournal, journal_file
from pipeline.recipes.model.recipe import Recipe

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAMES = 50
_SENTENCES = {
    ImageState.UPLOADING: "its publication is under way, or broke off; nobody sees it",
    ImageState.VERIFIED: "it was read back and found right, and is not shown yet",
    ImageState.NEWEST: "it is what consumers get",
    ImageState.SUPERSEDED: "a later image has taken its place; it is hidden and kept for a while",
    ImageState.WITHDRAWN: "a person took it back",
}


@dataclass(frozen=True)
class ImageHistory:
    """One image: where it stands, in sentences, and what was done to it, oldest first."""

    cloud: str
    record: ImageRecord
    sentences: Sequence[str]
    events: Sequence[JournalEvent]


def strangers(api: ImageApi, publisher: str, ours: Sequence[ImageRecord]) -> list[ImageRecord]:
    """Return other projects' images with our marks, or the name of an image that we show; at most a page of each."""
    names = sorted({each.name for each in ours if each.state is ImageState.NEWEST})[:_NAMES]
    found = [*api.others(**{ownership_marker.PUBLISHER: publisher})]
    for name in names:
        found += api.others(name=name)
    return list({each.id: each for each in found}.values())


def managed(api: ImageApi, publisher: str) -> list[ImageRecord]:
    """Return every image of ours on a cloud: by recipe and part, the newest of each first. Raises ``OwnerUnknown``."""
    found = [record for record in api.images(**{ownership_marker.PUBLISHER: publisher}) if record.state is not None]
    return sorted(
        found,
        key=lambda each: (
            each.recipe or "",
            str(each.part),
            each.state is not ImageState.NEWEST,
            -each.created_at.timestamp(),
            -each.serial,
        ),
    )


def history(api: ImageApi, sender: Sender, reference: str, recipes: Sequence[Recipe]) -> ImageHistory | None:
    """Return the history of the image with an id or a name; ``None`` when this cloud has no such image of ours."""
    record = _find(api, sender.publisher, reference)
    if record is None:
        return None
    recipe = next((each for each in recipes if each.name == record.recipe), None)
    journal = PublishJournal(journal_file(sender.home, api.cloud, record.recipe or ""), sender.run)
    events = [event for event in journal.events() if event.image == record.id]
    return ImageHistory(api.cloud, record, list(_sentences(api, sender, record, recipe)), events)


def _find(api: ImageApi, publisher: str, reference: str) -> ImageRecord | None:
    if _ID.fullmatch(reference):
        record = api.show(reference)
        if record is None or record.properties.get(ownership_marker.PUBLISHER) != publisher:
            return None
        if not api.owners.are_known:
            raise OwnerUnknown(api.cloud, f"whether image {record.id} of project {record.owner} is ours cannot be told")
        if record not in api.owners:
            raise PipelineError(
                f"image {record.id} on cloud {api.cloud} has our marks, but belongs to project {record.owner}: "
                "it is not ours, and left alone",
                hint=f"if that project was ours: ./inv takeover --cloud {api.cloud} --owner {record.owner}",
            )
        return record
    named = [record for record in managed(api, publisher) if record.name == reference]
    if len(named) > 1:
        ids = ", ".join(record.id for record in named)
        raise PipelineError(f"cloud {api.cloud} has several images named {reference}: {ids}", hint="give an id")
    return named[0] if named else None


def _sentences(api: ImageApi, sender: Sender, record: ImageRecord, recipe: Recipe | None) -> Iterator[str]:
    if record.state is ImageState.HELD:
        reason = record.properties.get(ownership_marker.HELD_BECAUSE, "no reason is written on it")
        yield f"a gate holds it back: {reason}"
        yield f"./inv publish {record.recipe} --cloud {api.cloud} --let-through shows it all the same"
    elif record.state is not None:
        yield _SENTENCES[record.state]
    for mark, words in (
        (ownership_marker.VERIFIED_AT, "verified"),
        (ownership_marker.SWITCHED_AT, "shown"),
        (ownership_marker.SUPERSEDED_AT, "retired"),
    ):
        if mark in record.properties:
            yield f"{words} at {record.properties[mark]}"
    if record.part is None or record.recipe is None:
        return
    chain = Chain(sender.publisher, record.recipe, record.part)
    observed = observe(chain, api.images(**chain.filters), sender.runner_context())
    if observed.newest and observed.newest.id != record.id:
        yield f"the newest image of {record.recipe} is {observed.newest.id}"
    yield from _retention(observed, record, recipe, sender)


def _retention(observed: ObservedChain, record: ImageRecord, recipe: Recipe | None, sender: Sender) -> Iterator[str]:
    if record.state is None or not record.state.is_retired:
        return
    if recipe is None:
        yield f"it stays: there is no recipe {record.recipe} any more that says how long"
        return
    for decision in retention_policy.decide(observed, recipe.publish.retention, sender.now):
        if decision.record.id == record.id:
            yield f"it stays: {decision.why}" if decision.stays else f"the next rotation deletes it: {decision.why}"
