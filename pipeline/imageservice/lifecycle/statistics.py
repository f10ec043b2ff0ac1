"""Count what the catalog holds: one project's use of its limits, and totals for monitoring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog import quotas, totals
from pipeline.imageservice.catalog.quotas import QuotaResource
from pipeline.imageservice.catalog.totals import Totals
from pipeline.imageservice.service import Service


@dataclass(frozen=True, slots=True)
class LimitUse:
    """A limit, -1 for none, and how much of it is used, in its own unit (sizes: MiB)."""

    limit: int
    used: int


def limits_of(service: Service, caller: Caller) -> Mapping[str, LimitUse]:
    """Say what the caller's project may have and uses, by the limits' names; nothing where there are no limits."""
    if not service.limits.on:
        return {}
    limits = service.limits.of(caller.project)
    with service.database.read() as connection:
        usage = quotas.usage(connection, caller.project)
    return {str(resource): LimitUse(limits.get(resource, -1), usage.of(resource)) for resource in QuotaResource}


def count_all(service: Service) -> Totals:
    """Count images, bytes and unfinished tasks of all projects, which is for monitoring only."""
    with service.database.read() as connection:
        return totals.count(connection)
