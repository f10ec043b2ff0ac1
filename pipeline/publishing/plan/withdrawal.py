"""Decide how the newest image is taken back and the one before it shown again, also where that broke off."""

from __future__ import annotations

from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.ownership_marker import ImagePart, ImageState
from pipeline.publishing.cloud.patch import RecordPatch
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.plan.chain_state import ObservedChain, RunnerContext
from pipeline.publishing.plan.steps import Act, PlannedAct, retire


def finished(
    observed: ObservedChain, context: RunnerContext, *, protected: bool
) -> tuple[list[PlannedAct], list[ImageRecord]]:
    """Return the steps that finish a withdrawal that broke off, if any, and the images as they are then."""
    gone = unfinished(observed)
    back = coming_back(observed, gone) if gone else None
    if gone is None or back is None:
        return [], []
    steps = withdrawal(observed.chain.part, gone, back, "a withdrawal broke off", protected=protected)[1:]
    changed = [step.change(context.moment).applied(step.record) for step in steps if step.change and step.record]
    return steps, changed


def unfinished(observed: ObservedChain) -> ImageRecord | None:
    """Return an image whose withdrawal broke off: marked, but still shown."""
    shown = [each for each in observed.retired if each.state is ImageState.WITHDRAWN and not each.bears_date]
    return shown[-1] if shown else None


def withdrawal(part: ImagePart, gone: ImageRecord, back: ImageRecord, why: str, *, protected: bool) -> list[PlannedAct]:
    """Return the steps that take ``gone`` back and show ``back`` in its place, which is shown before it is hidden."""
    # The mark first: whatever happens then, these bytes are not published again by themselves.
    mark = RecordPatch(properties={ownership_marker.STATE: str(ImageState.WITHDRAWN)})
    shown = RecordPatch(
        {
            "name": gone.name,
            "visibility": gone.visibility,
            "os_hidden": gone.is_hidden,
            "protected": protected or back.is_protected,
            "tags": gone.tags,
        },
        {ownership_marker.STATE: str(ImageState.NEWEST)},
        frozenset({ownership_marker.SUPERSEDED_AT}),
    )
    again = f"the newest again, since {gone.id} is taken back"
    return [
        PlannedAct(Act.WITHDRAW, part, gone.id, gone.name, why, gone, lambda _: mark),
        PlannedAct(Act.RESTORE, part, back.id, back.name, again, back, lambda _: shown),
        retire(part, gone, ImageState.WITHDRAWN, f"taken back: {why}", drop_protection=protected),
    ]


def coming_back(observed: ObservedChain, gone: ImageRecord) -> ImageRecord | None:
    """Return the latest image before ``gone`` that consumers once had."""
    if observed.newest is not None and observed.newest.id != gone.id:
        return observed.newest
    before = [
        each
        for each in observed.retired
        if each.state is ImageState.SUPERSEDED
        and each.is_active
        and ownership_marker.SWITCHED_AT in each.properties
        and each.age_key < gone.age_key
    ]
    return before[-1] if before else None
