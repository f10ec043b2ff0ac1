"""Taking the newest image back and showing the one before it again, because a person says so."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.base.errors import PipelineError
from pipeline.publishing import marks
from pipeline.publishing.change import Change
from pipeline.publishing.cloud_errors import Contended
from pipeline.publishing.image_api import ImageApi
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.journal import Journal
from pipeline.publishing.marks import Chain, Part, State
from pipeline.publishing.situation import Situation, Viewpoint, look
from pipeline.publishing.wanted import dated_name, retired


@dataclass(frozen=True)
class Withdrawn:
    """One part: what was taken back, and what consumers get now."""

    part: Part
    gone: ImageRecord
    back: ImageRecord


def withdraw_all(
    api: ImageApi, publisher: str, recipe: str, view: Viewpoint, journal: Journal, *, why: str, protected: bool
) -> list[Withdrawn]:
    """Take the newest disk of ``recipe`` back, and of its kernel, ramdisk and proof what the one before does not name.

    As ``withdraw``.
    """
    done = [withdraw(api, Chain(publisher, recipe), view, journal, why=why, protected=protected)]
    for part in (Part.KERNEL, Part.RAMDISK, Part.PROOF):
        chain = Chain(publisher, recipe, part)
        needed = done[0].back.properties.get(f"{part}_id")
        newest = look(chain, api.images(**chain.filters), view).newest if needed else None
        if newest is not None and newest.id != needed:
            done.append(withdraw(api, chain, view, journal, why=why, protected=protected))
    return done


def withdraw(api: ImageApi, chain: Chain, view: Viewpoint, journal: Journal, *, why: str, protected: bool) -> Withdrawn:
    """Take the newest image of ``chain`` back. The caller holds the lock.

    Consumers always find an image: the one before is shown before the newest is hidden. When this breaks off, the next
    publication, or saying it again, goes on. ``protected``: the recipe protects its newest image. Raises
    ``PipelineError`` when there is none before.
    """
    situation = _tidied(api, chain, view, protected=protected)
    gone = _going(situation)
    back = _coming_back(situation, gone)
    journal.note("withdraw", gone.id, why, back=back.id)
    # The mark first: whatever happens now, these bytes are not published again by themselves.
    api.change(gone.id, Change(properties={marks.STATE: str(State.WITHDRAWN)}))
    shown = {
        "name": gone.name,
        "visibility": gone.visibility,
        "os_hidden": gone.is_hidden,
        "protected": protected or back.is_protected,
        "tags": gone.tags,
    }
    back = api.change(back.id, Change(shown, {marks.STATE: str(State.NEWEST)}, frozenset({marks.SUPERSEDED_AT})))
    hidden = retired(gone, State.WITHDRAWN, view.moment, drop_protection=protected)
    return Withdrawn(chain.part, api.change(gone.id, hidden), back)


def _tidied(api: ImageApi, chain: Chain, view: Viewpoint, *, protected: bool) -> Situation:
    """The situation once no image is left that should have been retired before; else consumers would find three."""
    situation = look(chain, api.images(**chain.filters), view)
    if situation.others_at_work:
        raise Contended(
            f"another machine is publishing {chain.recipe} to cloud {api.cloud}", hint="let it finish first"
        )
    for record in situation.stale_newest:
        api.change(record.id, retired(record, State.SUPERSEDED, view.moment, drop_protection=protected))
    return look(chain, api.images(**chain.filters), view) if situation.stale_newest else situation


def unfinished(situation: Situation) -> ImageRecord | None:
    """An image whose withdrawal broke off: marked, but still shown."""
    shown = [each for each in situation.retired if each.state is State.WITHDRAWN and not each.bears_date]
    return shown[-1] if shown else None


def _going(situation: Situation) -> ImageRecord:
    found = unfinished(situation) or situation.newest
    if found is None:
        raise PipelineError(
            f"nothing of {situation.chain.recipe} is published there", hint="./inv images lists what is"
        )
    return found


def _coming_back(situation: Situation, gone: ImageRecord) -> ImageRecord:
    """The latest image before ``gone`` that consumers once had."""
    if situation.newest is not None and situation.newest.id != gone.id:
        return situation.newest
    before = [
        each
        for each in situation.retired
        if each.state is State.SUPERSEDED
        and each.is_active
        and marks.SWITCHED_AT in each.properties
        and each.age_key < gone.age_key
    ]
    if not before:
        raise PipelineError(
            f"there is no image of {situation.chain.recipe} before {dated_name(gone.name, gone.version)} to go back to"
        )
    return before[-1]
