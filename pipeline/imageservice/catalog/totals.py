"""Sum up everything the catalog holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.model.tasks import TaskStatus

_UNFINISHED = tuple(str(status) for status in TaskStatus if not status.is_over)


@dataclass(frozen=True, slots=True)
class Totals:
    """Images that are not deleted, those whose data is on its way, bytes of all copies, unfinished tasks by status."""

    images: int
    receiving: int
    stored: int
    tasks: Mapping[str, int]


def count(connection: Connection) -> Totals:
    """Add up the projects' counters, and count tasks."""
    usage, tasks = tables.quota_usage.c, tables.tasks.c
    sums = select(*(func.coalesce(func.sum(column), 0) for column in (usage.images, usage.receiving, usage.stored)))
    images, receiving, stored = connection.execute(sums).one()
    query = select(tasks.status, func.count()).where(tasks.status.in_(_UNFINISHED)).group_by(tasks.status)
    found = {row[0]: row[1] for row in connection.execute(query)}
    return Totals(images, receiving, stored, {status: found.get(status, 0) for status in _UNFINISHED})
