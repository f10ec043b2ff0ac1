"""Describe the stores: to users, who choose one, and to operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.errors import NotFound
from pipeline.imageservice.service import Service


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """A store as users choose it."""

    id: str
    description: str
    is_default: bool
    is_writable: bool


@dataclass(frozen=True, slots=True)
class StoreDetail:
    """A store as operators see it; ``fault`` is why it does not answer."""

    info: StoreInfo
    type: str
    weight: int
    properties: Mapping[str, Any]
    fault: str | None


def list_stores(service: Service) -> Sequence[StoreInfo]:
    """Describe the stores to anybody. Raises ``NotFound`` where there is no choice."""
    if not service.stores.several:
        raise NotFound("Multi backend is not supported at this site.")
    return [
        StoreInfo(store.id, store.description, store is service.stores.default, store.capabilities.writable)
        for store in service.stores
    ]


def list_details(service: Service, caller: Caller) -> Sequence[StoreDetail]:
    """Say how the stores are set up, and whether they answer. Raises ``Forbidden``, and as ``list_stores``."""
    service.policy.require(caller, "stores_info_detail")
    infos = list_stores(service)
    faults = service.health.faults()
    return [
        StoreDetail(info, store.type, store.weight, store.properties(), faults[store.id])
        for info, store in zip(infos, service.stores, strict=True)
    ]
