"""Decide what has to be done to publish an image, step by step with the reason: printed, or carried out.

``--plan`` and apply call the one ``plan``. It lists every change to the cloud but those of the lock; what a fault makes
necessary (to take back what was begun) is the only thing that happens beyond it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.errors import CloudError
from pipeline.publishing.cloud.ownership_marker import ImageState
from pipeline.publishing.cloud.patch import RecordPatch
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.plan import withdrawal
from pipeline.publishing.plan.chain_state import ObservedChain, ReconcileAction
from pipeline.publishing.plan.desired import DesiredImage
from pipeline.publishing.plan.observe import ObservedImage, ObservedPart, lacking
from pipeline.publishing.plan.sharing import sharing
from pipeline.publishing.plan.steps import Act, PlannedAct, retire

GLANCE_DIRECT, WEB_DOWNLOAD = METHODS = ("glance-direct", "web-download")


@dataclass(frozen=True)
class PublishOptions:
    """What a person decided.

    ``let_through``: show an image although a gate tripped. ``again``: publish bytes that were taken back. ``only_new``:
    leave alone what exists with other bytes. ``method``: how the cloud is to import images (empty: as it offers).
    """

    let_through: bool = False
    again: bool = False
    only_new: bool = False
    method: str = ""


class PlanOutcome(StrEnum):
    """What a plan comes to."""

    PUBLISHED = "published"  # or changed, or nothing was to do
    HELD = "held back"
    WITHDRAWN = "withdrawn"
    LEFT_ALONE = "left alone"


@dataclass(frozen=True)
class PublishPlan:
    """The steps in the order in which they are done, and the parts as they are once what broke off is in order.

    ``held`` are the reasons why the image is to be held back.
    """

    steps: tuple[PlannedAct, ...]
    parts: tuple[ObservedPart, ...]
    outcome: PlanOutcome = PlanOutcome.PUBLISHED
    held: tuple[str, ...] = ()


def plan(seen: ObservedImage, options: PublishOptions) -> PublishPlan:
    """Return the steps from what was ``seen`` to what is desired. Raises ``CloudError`` when the cloud has no way."""
    tidied, parts = _tidied(seen.parts)
    if any(part.observed.action is ReconcileAction.WITHDRAWN for part in parts) and not options.again:
        return PublishPlan((*tidied, *_withdrawn(parts)), parts, PlanOutcome.WITHDRAWN)
    parts = tuple(_sent_anew(_again(part), seen) for part in parts)
    if options.only_new and (left := [*_others(seen, parts), *_replaced(parts)]):
        return PublishPlan((*tidied, *left), parts, PlanOutcome.LEFT_ALONE)
    parts = _linked(parts)
    new = [part for part in parts if part.observed.action is not ReconcileAction.REFRESH]
    brought = [step for part in new for step in _brought(part, seen, options.method)]
    held = seen.gates(parts[-1].observed.newest) if new else ()
    if held and not options.let_through:
        shown, outcome = [_hold(part, held) for part in new], PlanOutcome.HELD
    else:
        shown, outcome, held = list(_shown(parts, seen)), PlanOutcome.PUBLISHED, ()
    outdated = [_outdated(part, record) for part in parts for record in part.observed.outdated]
    return PublishPlan((*tidied, *brought, *shown, *outdated), parts, outcome, held)


# --- what runs that broke off left behind ---


def _tidied(parts: Sequence[ObservedPart]) -> tuple[list[PlannedAct], tuple[ObservedPart, ...]]:
    """Put in order what broke off; also the parts as they are then."""
    steps: list[PlannedAct] = []
    found = []
    for part in parts:
        finish, changed = withdrawal.finished(part.observed, part.context, protected=part.desired.protected)
        steps += finish
        part = part.with_records(changed) if changed else part
        why = "a newer one was shown already when a run broke off"
        steps += [_retire(part, record, why) for record in part.observed.stale_newest]
        steps += [
            _step(Act.DISCARD, part, each, "its run broke off before it was verified")
            for each in part.observed.leftovers
        ]
        found.append(part)
    return steps, tuple(found)


# --- what stands in the way ---


def _withdrawn(parts: Sequence[ObservedPart]) -> Iterator[PlannedAct]:
    for part in parts:
        record = part.observed.candidate
        if part.observed.action is ReconcileAction.WITHDRAWN and record is not None:
            why = f"these bytes were taken back by a person as {record.name}; build a new image, or say --again"
            yield _step(Act.NOTHING, part, record, why)


def _again(part: ObservedPart) -> ObservedPart:
    if part.observed.action is not ReconcileAction.WITHDRAWN:
        return part
    return replace(part, observed=replace(part.observed, action=ReconcileAction.CREATE, candidate=None))


def _sent_anew(part: ObservedPart, seen: ObservedImage) -> ObservedPart:
    """Return the part as one whose bytes are sent again, where copies are missing and nobody makes them for us."""
    observed = part.observed
    if observed.action is not ReconcileAction.REFRESH or not _missing(part, seen) or _copies(seen):
        return part
    newest = observed.newest
    waiting = [
        each for each in observed.outdated if part.desired.matches(each) and newest and each.age_key > newest.age_key
    ]
    candidate = waiting[-1] if waiting else None
    outdated = tuple(each for each in observed.outdated if each is not candidate)
    action = ReconcileAction.RESUME if candidate else ReconcileAction.CREATE
    return replace(part, observed=replace(observed, action=action, candidate=candidate, outdated=outdated))


def _missing(part: ObservedPart, seen: ObservedImage) -> tuple[str, ...]:
    """Return the stores that are to have the image and, by its record, do not."""
    record = part.observed.candidate
    return lacking(record, seen.stores) if record else ()


def _unread(part: ObservedPart, seen: ObservedImage) -> tuple[str, ...]:
    """Return the stores that have a copy which nobody has read back yet."""
    record = part.observed.candidate
    unread = seen.unread(record.id) if record else ()
    return tuple(store for store in seen.stores if record and store in record.stores and store in unread)


def _copies(seen: ObservedImage) -> bool:
    return "copy-image" in seen.methods and not seen.copy_refused


def _others(seen: ObservedImage, parts: Sequence[ObservedPart]) -> Iterator[PlannedAct]:
    for record in seen.same_name:
        yield _step(Act.NOTHING, parts[-1], record, _LEFT)


def _replaced(parts: Sequence[ObservedPart]) -> Iterator[PlannedAct]:
    for part in parts:
        newest = part.observed.newest
        if newest is not None and not part.desired.matches(newest):
            yield _step(Act.NOTHING, part, newest, _LEFT)


_LEFT = "exists with other bytes and is left alone; --update-existing takes its place"


def _linked(parts: tuple[ObservedPart, ...]) -> tuple[ObservedPart, ...]:
    """Return the parts, whose disk names the others; those that do not exist yet get their id when they are made."""
    *others, disk = parts
    links = {
        f"{part.desired.chain.part}_id": part.observed.candidate.id if part.observed.candidate else "the new one"
        for part in others
    }
    desired = replace(disk.desired, properties={**disk.desired.properties, **links})
    return (*others, replace(disk, desired=desired))


# --- bringing the bytes there, out of sight ---


def _brought(part: ObservedPart, seen: ObservedImage, method: str) -> Iterator[PlannedAct]:
    observed, desired = part.observed, part.desired
    candidate = observed.candidate
    if candidate is None:
        yield _step(Act.CREATE, part, None, _why_new(observed, desired))
    else:
        yield _step(Act.GO_ON, part, candidate, f"an earlier run left it {candidate.state}")
    yield from _transferred(part, seen, method)
    yield replace(
        _step(Act.CHECK, part, candidate, "size, sha512 and signature, from every store"), stores=seen.stores or ("",)
    )


def _transferred(part: ObservedPart, seen: ObservedImage, method: str) -> Iterator[PlannedAct]:
    """Yield the way of the bytes into every store, as this cloud offers it and this user may go it."""
    record, stores = part.observed.candidate, seen.stores
    several = len(stores) > 1
    direct = GLANCE_DIRECT if GLANCE_DIRECT in seen.methods else ""
    if record is not None and record.is_active:
        missing = _missing(part, seen)
        if missing:
            was_verified = record.state is not None and record.state.was_verified
            yield _copy(part, missing, "" if was_verified else direct)
        return
    if method:
        if method not in seen.methods:
            raise CloudError(
                f"cloud {seen.cloud} does not offer the import method {method}",
                hint=f"it offers {', '.join(sorted(seen.methods)) or 'none'}",
            )
        yield _import(part, stores, method)
    elif several and not _copies(seen):
        if not direct:
            raise CloudError(
                f"cloud {seen.cloud} puts an image into one store only: it offers neither copy-image nor glance-direct",
                hint="name one store for this cloud in recipes/nightly.yaml",
            )
        yield _import(part, stores, direct)
    else:
        yield replace(_step(Act.UPLOAD, part, record, _to(stores[:1])), stores=stores[:1])
        if several:
            yield _copy(part, stores[1:], direct)


def _copy(part: ObservedPart, stores: tuple[str, ...], fallback: str) -> PlannedAct:
    """``fallback``: the import that is left when the cloud does not copy for this user; empty if none is."""
    step = _step(Act.COPY, part, part.observed.candidate, _to(stores))
    return replace(step, stores=stores, method=fallback)


def _import(part: ObservedPart, stores: tuple[str, ...], method: str) -> PlannedAct:
    step = _step(Act.IMPORT, part, part.observed.candidate, f"{_to(stores)}, by {method}")
    return replace(step, stores=stores, method=method)


def _to(stores: Sequence[str]) -> str:
    return f"to {', '.join(stores)}" if stores else "to the cloud's default store"


# --- showing it ---


def _shown(parts: Sequence[ObservedPart], seen: ObservedImage) -> Iterator[PlannedAct]:
    for part in parts:
        yield from _refreshed(part, seen) if part.observed.action is ReconcileAction.REFRESH else _switched(part)
    for part in reversed(parts):
        if part.observed.action is not ReconcileAction.REFRESH:
            yield from (_retire(part, record, "no longer the newest") for record in part.observed.displaced)
            gone = withdrawal.unfinished(part.observed)
            if gone is not None:
                yield _retire(
                    part, gone, "it was taken back when there was nothing to go back to", ImageState.WITHDRAWN
                )


def _refreshed(part: ObservedPart, seen: ObservedImage) -> Iterator[PlannedAct]:
    record = part.observed.candidate
    if record is None:
        return
    operations = part.desired.refreshed(record).operations(record)
    share = _share(part)
    missing, unread = _missing(part, seen), _unread(part, seen)
    if operations:
        names = ", ".join(operation["path"].removeprefix("/") for operation in operations)
        yield _step(Act.CHANGE, part, record, f"the same bytes, but these changed: {names}")
    if share is not None:
        yield share
    if missing:
        direct = GLANCE_DIRECT if GLANCE_DIRECT in seen.methods else ""
        yield replace(_copy(part, missing, direct), why=f"{_to(missing)}, where it is missing")
    if missing or unread:
        why = "the new copies: size, sha512 and signature"
        yield replace(_step(Act.CHECK, part, record, why), stores=(*unread, *missing))
    if not operations and share is None and not missing and not unread:
        yield _step(Act.NOTHING, part, record, "the same bytes and properties are published already")


def _switched(part: ObservedPart) -> Iterator[PlannedAct]:
    share = _share(part)
    if share is not None:
        yield share
    why = f"becomes the newest, {part.desired.visibility}"
    yield replace(_step(Act.SWITCH, part, part.observed.candidate, why), name=part.desired.name)


def _share(part: ObservedPart) -> PlannedAct | None:
    record = part.observed.candidate
    found = sharing(record, part.desired, part.members.get(record.id, {}) if record else {})
    return replace(_step(Act.SHARE, part, record, found.why), sharing=found) if found else None


def _hold(part: ObservedPart, held: Sequence[str]) -> PlannedAct:
    why = "; ".join(held)
    marks = {ownership_marker.STATE: str(ImageState.HELD), ownership_marker.HELD_BECAUSE: why[:1000]}
    return replace(_step(Act.HOLD, part, part.observed.candidate, why), change=lambda _: RecordPatch(properties=marks))


# --- small parts ---


def _outdated(part: ObservedPart, record: ImageRecord) -> PlannedAct:
    return _retire(part, record, "never shown, and overtaken by a later build")


def _retire(part: ObservedPart, record: ImageRecord, why: str, state: ImageState = ImageState.SUPERSEDED) -> PlannedAct:
    return retire(part.desired.chain.part, record, state, why, drop_protection=part.desired.protected)


def _step(act: Act, part: ObservedPart, record: ImageRecord | None, why: str) -> PlannedAct:
    name = record.name if record else part.desired.dated_name
    return PlannedAct(act, part.desired.chain.part, record.id if record else "", name, why, record)


def _why_new(observed: ObservedChain, desired: DesiredImage) -> str:
    newest = observed.newest
    if newest is not None and desired.matches(newest):
        return "it is missing in a store, and this cloud does not copy images for this user: sent anew to all"
    if newest is None:
        return "nothing of this recipe is published there yet"
    if newest.disk_format != desired.disk_format:
        return f"the format changes from {newest.disk_format} to {desired.disk_format}"
    return f"the bytes changed: sha512 {(newest.sha512 or 'unknown')[:12]}… becomes {desired.sha512[:12]}…"
