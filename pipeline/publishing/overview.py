"""What is published where: every image that carries our mark, and the story of one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.base.errors import PipelineError
from pipeline.publishing import marks, retention
from pipeline.publishing.delivery import Sender
from pipeline.publishing.image_api import ImageApi
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.journal import Event, Journal, journal_file
from pipeline.publishing.marks import Chain, State
from pipeline.publishing.situation import Situation, look
from pipeline.recipes.model import Recipe

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SENTENCES = {
    State.UPLOADING: "its publication is under way, or broke off; nobody sees it",
    State.VERIFIED: "it was read back and found right, and is not shown yet",
    State.NEWEST: "it is what consumers get",
    State.SUPERSEDED: "a later image has taken its place; it is hidden and kept for a while",
    State.WITHDRAWN: "a person took it back",
}


@dataclass(frozen=True)
class Story:
    """One image: where it stands, in sentences, and what was done to it, oldest first."""

    cloud: str
    record: ImageRecord
    sentences: Sequence[str]
    events: Sequence[Event]


def managed(api: ImageApi, publisher: str) -> list[ImageRecord]:
    """Every image of ``publisher`` on a cloud: by recipe and part, the newest of each first."""
    found = [record for record in api.images(**{marks.PUBLISHER: publisher}) if record.state is not None]
    return sorted(
        found,
        key=lambda each: (
            each.recipe or "",
            str(each.part),
            each.state is not State.NEWEST,
            -each.created_at.timestamp(),
            -each.serial,
        ),
    )


def story(api: ImageApi, sender: Sender, reference: str, recipes: Sequence[Recipe]) -> Story | None:
    """The story of the image with an id or a name; ``None`` when this cloud has no such image of ours."""
    record = _find(api, sender.publisher, reference)
    if record is None:
        return None
    recipe = next((each for each in recipes if each.name == record.recipe), None)
    journal = Journal(journal_file(sender.home, api.cloud, record.recipe or ""), sender.run)
    events = [event for event in journal.events() if event.image == record.id]
    return Story(api.cloud, record, list(_sentences(api, sender, record, recipe)), events)


def _find(api: ImageApi, publisher: str, reference: str) -> ImageRecord | None:
    if _ID.fullmatch(reference):
        record = api.show(reference)
        return record if record and record.properties.get(marks.PUBLISHER) == publisher else None
    named = [record for record in managed(api, publisher) if record.name == reference]
    if len(named) > 1:
        ids = ", ".join(record.id for record in named)
        raise PipelineError(f"cloud {api.cloud} has several images named {reference}: {ids}", hint="give an id")
    return named[0] if named else None


def _sentences(api: ImageApi, sender: Sender, record: ImageRecord, recipe: Recipe | None) -> Iterator[str]:
    if record.state is State.HELD:
        yield f"a gate holds it back: {record.properties.get(marks.HELD_BECAUSE, 'no reason is written on it')}"
        yield f"./inv publish {record.recipe} --cloud {api.cloud} --let-through shows it all the same"
    elif record.state is not None:
        yield _SENTENCES[record.state]
    for mark, words in (
        (marks.VERIFIED_AT, "verified"),
        (marks.SWITCHED_AT, "shown"),
        (marks.SUPERSEDED_AT, "retired"),
    ):
        if mark in record.properties:
            yield f"{words} at {record.properties[mark]}"
    if record.part is None or record.recipe is None:
        return
    chain = Chain(sender.publisher, record.recipe, record.part)
    situation = look(chain, api.images(**chain.filters), sender.viewpoint())
    if situation.newest and situation.newest.id != record.id:
        yield f"the newest image of {record.recipe} is {situation.newest.id}"
    yield from _retention(situation, record, recipe, sender)


def _retention(situation: Situation, record: ImageRecord, recipe: Recipe | None, sender: Sender) -> Iterator[str]:
    if record.state is None or not record.state.is_retired:
        return
    if recipe is None:
        yield f"it stays: there is no recipe {record.recipe} any more that says how long"
        return
    for decision in retention.decide(situation, recipe.publish.retention, sender.now):
        if decision.record.id == record.id:
            yield f"it stays: {decision.why}" if decision.stays else f"the next rotation deletes it: {decision.why}"
