"""Look at what a cloud holds of an image's parts: everything a plan is computed from, without changing anything."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.errors import Contended
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.plan.chain_state import ObservedChain, ReconcileAction, RunnerContext, observe
from pipeline.publishing.plan.desired import DesiredImage

Gates = Callable[[ImageRecord | None], tuple[str, ...]]
UnreadCopies = Callable[[str], Collection[str]]


@dataclass(frozen=True)
class ObservedPart:
    """One part of an image: its chain's ``records``, and where they stand seen from what is desired.

    ``members`` are those of the chain's shared images, by id: who, with which status.
    """

    desired: DesiredImage
    records: tuple[ImageRecord, ...]
    context: RunnerContext
    observed: ObservedChain
    members: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def with_records(self, records: Iterable[ImageRecord]) -> ObservedPart:
        """Return the part once these of its chain's images have become so."""
        changed = {record.id: record for record in records}
        now = tuple(changed.get(each.id, each) for each in self.records)
        return replace(self, records=now, observed=observe(self.desired.chain, now, self.context, self.desired))


@dataclass(frozen=True)
class ObservedImage:
    """All parts, the disk last, and what the cloud can do.

    ``stores``: those that must hold the image; none means the cloud's default. ``methods``: the ways in besides an
    upload. ``copy_refused``: whether it refused before to copy images for this user. ``same_name``: other images of the
    disk's name. ``gates`` gives the reasons to hold a new disk back, seeing the newest one. ``unread`` gives, for an
    image's id, the stores whose copies were begun and not read back.
    """

    parts: tuple[ObservedPart, ...]
    cloud: str
    stores: tuple[str, ...] = ()
    methods: frozenset[str] = frozenset()
    copy_refused: bool = False
    same_name: Sequence[ImageRecord] = ()
    gates: Gates = lambda newest: ()
    unread: UnreadCopies = lambda image: ()


def observe_image(
    api: ImageApi,
    parts: Sequence[DesiredImage],
    context: RunnerContext,
    *,
    copy_refused: bool = False,
    stores: tuple[str, ...] = (),
    method: str = "",
    gates: Gates = lambda newest: (),
    same_name: Sequence[ImageRecord] = (),
    unread: UnreadCopies = lambda image: (),
) -> ObservedImage:
    """Look at ``parts``. Raises ``Contended`` when another machine is at work on one of them."""
    seen = tuple(observe_part(api, desired, context) for desired in parts)
    sends = any(part.observed.action is not ReconcileAction.REFRESH for part in seen)
    copies = any(part.observed.candidate and lacking(part.observed.candidate, stores) for part in seen)
    asks = copies or (sends and (method or len(stores) > 1))
    return ObservedImage(
        parts=seen,
        cloud=api.cloud,
        stores=stores,
        methods=api.import_methods() if asks else frozenset(),
        copy_refused=copy_refused,
        same_name=same_name,
        gates=gates,
        unread=unread,
    )


def lacking(record: ImageRecord, stores: Sequence[str]) -> tuple[str, ...]:
    """Return those of ``stores`` that lack the image; none where its record names no stores, as with one store only."""
    return tuple(store for store in stores if store not in record.stores) if record.stores else ()


def observe_part(api: ImageApi, desired: DesiredImage, context: RunnerContext) -> ObservedPart:
    """Look at one part. Raises ``Contended``."""
    records = tuple(api.images(**desired.chain.filters))
    observed = observe(desired.chain, records, context, desired)
    if observed.others_at_work:
        other = observed.others_at_work[0]
        raise Contended(
            f"another machine is publishing {desired.name} to cloud {api.cloud}: image {other.id}, "
            f"begun {ownership_marker.time_text(other.created_at)}",
            hint="let it finish",
        )
    return ObservedPart(desired, records, context, observed, _members(api, desired, observed))


def _members(api: ImageApi, desired: DesiredImage, observed: ObservedChain) -> dict[str, dict[str, str]]:
    if desired.visibility != "shared":
        return {}
    concerned = [each for each in observed.all if each.visibility == "shared" and desired.matches(each)]
    return {each.id: api.members(each.id) for each in concerned}
