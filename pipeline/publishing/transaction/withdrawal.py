"""Withdraw the newest image and show the one before it again, because a person says so."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.base.errors import PipelineError
from pipeline.publishing.cloud.errors import Contended
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.ownership_marker import Chain, ImagePart, ImageState
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.plan import withdrawal as planned
from pipeline.publishing.plan.chain_state import RunnerContext, observe
from pipeline.publishing.plan.desired import dated_name
from pipeline.publishing.plan.steps import retire
from pipeline.publishing.transaction.journal import PublishJournal
from pipeline.publishing.transaction.ledger import Ledger


@dataclass(frozen=True)
class Withdrawn:
    """One part: what was taken back, and what consumers get now."""

    part: ImagePart
    gone: ImageRecord
    back: ImageRecord


def withdraw_all(
    api: ImageApi,
    publisher: str,
    recipe: str,
    context: RunnerContext,
    journal: PublishJournal,
    *,
    why: str,
    protected: bool,
) -> list[Withdrawn]:
    """Take the newest disk of ``recipe`` back, and of its kernel, ramdisk and proof what the one before does not name.

    As ``withdraw``.
    """
    done = [withdraw(api, Chain(publisher, recipe), context, journal, why=why, protected=protected)]
    for part in (ImagePart.KERNEL, ImagePart.RAMDISK, ImagePart.PROOF):
        chain = Chain(publisher, recipe, part)
        needed = done[0].back.properties.get(f"{part}_id")
        newest = observe(chain, api.images(**chain.filters), context).newest if needed else None
        if newest is not None and newest.id != needed:
            done.append(withdraw(api, chain, context, journal, why=why, protected=protected))
    return done


def withdraw(
    api: ImageApi, chain: Chain, context: RunnerContext, journal: PublishJournal, *, why: str, protected: bool
) -> Withdrawn:
    """Take the newest image of ``chain`` back. The caller holds the lock.

    Consumers always find an image: the one before is shown before the newest is hidden. When this breaks off, the next
    publication, or saying it again, goes on. ``protected``: the recipe protects its newest image. Raises
    ``PipelineError`` when there is none before.
    """
    observed = observe(chain, api.images(**chain.filters), context)
    if observed.others_at_work:
        raise Contended(
            f"another machine is publishing {chain.recipe} to cloud {api.cloud}", hint="let it finish first"
        )
    gone = planned.unfinished(observed) or observed.newest
    if gone is None:
        raise PipelineError(f"nothing of {chain.recipe} is published there", hint="./inv images lists what is")
    back = planned.coming_back(observed, gone)
    if back is None:
        raise PipelineError(
            f"there is no image of {chain.recipe} before {dated_name(gone.name, gone.version)} to go back to"
        )
    # What should have been retired before goes first; else consumers would find three.
    stale = [
        retire(chain.part, each, ImageState.SUPERSEDED, "a newer one was shown already", drop_protection=protected)
        for each in observed.stale_newest
        if each.id != back.id
    ]
    ledger = Ledger(api, journal, [*stale, *planned.withdrawal(chain.part, gone, back, why, protected=protected)])
    changed = ledger.carry_out_changes(context)
    return Withdrawn(chain.part, changed.get(gone.id, gone), changed[back.id])
