"""Decide which previous images stay and which may go: pure decisions over one chain.

Everything here errs on the side of keeping. An image goes only when all of this holds: it carries our mark, was
verified once, is retired, is not protected by anybody, nothing that stays needs it, a healthy newest image is there,
and both limits of the recipe's retention let it go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.ownership_marker import ImageState
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.plan.chain_state import ObservedChain
from pipeline.recipes.model.retention_fields import Retention

_LINKS = ("kernel_id", "ramdisk_id", "proof_id")


@dataclass(frozen=True)
class Decision:
    """Whether an image stays, and why."""

    record: ImageRecord
    stays: bool
    why: str


def decide(
    observed: ObservedChain, retention: Retention, now: datetime, needed: frozenset[str] = frozenset()
) -> list[Decision]:
    """Return a decision for each retired image of a chain, the newest first.

    ``needed`` are the ids that images staying elsewhere refer to.
    """
    newest = observed.newest
    shown_before = 0
    decisions = []
    for record in sorted(observed.retired, key=lambda each: each.age_key, reverse=True):
        was_shown = ownership_marker.SWITCHED_AT in record.properties and record.state is ImageState.SUPERSEDED
        shown_before += was_shown
        why = _reason_to_stay(record, newest, needed) or _within_limits(
            record, retention, now, shown_before if was_shown else None
        )
        decisions.append(Decision(record, bool(why), why or _why_gone(record, now)))
    return decisions


def links(records: Iterable[ImageRecord]) -> frozenset[str]:
    """Return the ids of the kernels, ramdisks and proofs that ``records`` name."""
    return frozenset(record.properties[name] for record in records for name in _LINKS if name in record.properties)


def _reason_to_stay(record: ImageRecord, newest: ImageRecord | None, needed: frozenset[str]) -> str | None:
    if newest is None or not newest.is_active or ownership_marker.VERIFIED_AT not in newest.properties:
        return "there is no healthy newest image"
    if record.id == newest.id or record.age_key == newest.age_key:
        return "it is the newest"
    if ownership_marker.VERIFIED_AT not in record.properties:
        return "it was never verified"
    if record.is_protected:
        return "it is protected"
    if record.properties.get(ownership_marker.KEEP):
        return f"it carries the mark {ownership_marker.KEEP}"
    if record.id in needed:
        return "another image starts with it"
    if not record.is_hidden:
        return "it is not hidden"
    if record.state is ImageState.WITHDRAWN and record.age_key > newest.age_key:
        return "it was taken back, and no later build has taken its place yet"
    return None


def _within_limits(record: ImageRecord, retention: Retention, now: datetime, location: int | None) -> str | None:
    if location is not None and location <= retention.keep:
        return f"it is number {location} of the {retention.keep} previous ones to keep"
    # What this very run retired was retired after ``now``, its start.
    age = max(timedelta(0), now - record.retired_at)
    if age < timedelta(days=retention.keep_days):
        return f"it was retired {_days(age)} ago; {retention.keep_days} days are to be kept"
    return None


def _why_gone(record: ImageRecord, now: datetime) -> str:
    return f"retired {_days(now - record.retired_at)} ago, and enough later ones are there"


def _days(age: timedelta) -> str:
    days = age // timedelta(days=1)
    return "1 day" if days == 1 else f"{max(0, days)} days"
