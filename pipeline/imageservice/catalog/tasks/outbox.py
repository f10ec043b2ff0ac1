"""Keep events of tasks until they were sent: what is written here is written with what it tells of, or not at all.

An event stays as long as its task is not over, so that a worker that goes on with the task does not write it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, insert, select, update

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.model.images import now
from pipeline.imageservice.model.tasks import TaskStatus

_T = tables.outbox
_SECOND = 1_000_000


@dataclass(frozen=True)
class OutboxEvent:
    """An event that has not been sent. ``due_at`` changes with each attempt at sending it."""

    number: int
    message: Mapping[str, Any]
    due_at: int


def is_kept(connection: Connection, event_id: str) -> bool:
    """Return whether the event was written down already, be it sent or not."""
    return connection.execute(select(_T.c.number).where(_T.c.id == event_id)).first() is not None


def add(connection: Connection, event_id: str, task_id: str, message: Mapping[str, Any], *, seconds: float) -> None:
    """Write an event down; others than this process may send it ``seconds`` from now. The caller holds the task."""
    row = {"id": event_id, "task_id": task_id, "message": dict(message), "due_at": now() + int(seconds * _SECOND)}
    connection.execute(insert(_T), row)


def of_task(connection: Connection, task_id: str, after: int) -> list[OutboxEvent]:
    """Return what is to be sent of a task, behind the number ``after``, in the order in which it happened."""
    return _events(connection, and_(_T.c.task_id == task_id, _T.c.number > after), None)


def due(connection: Connection, limit: int) -> list[OutboxEvent]:
    """Return at most ``limit`` events that nobody is about to send, the oldest first."""
    return _events(connection, _T.c.due_at <= now(), limit)


def claim(connection: Connection, event: OutboxEvent, *, seconds: float) -> OutboxEvent | None:
    """Take the event for sending, for ``seconds``; ``None`` where somebody else did."""
    taken = replace(event, due_at=now() + int(seconds * _SECOND))
    query = update(_T).where(_T.c.number == event.number, _T.c.due_at == event.due_at, _T.c.sent_at.is_(None))
    return taken if connection.execute(query.values(due_at=taken.due_at)).rowcount == 1 else None


def mark_sent(connection: Connection, event: OutboxEvent) -> None:
    """Note that the event was sent."""
    connection.execute(update(_T).where(_T.c.number == event.number).values(sent_at=now()))


def forgettable(connection: Connection, limit: int) -> list[int]:
    """Return the numbers of at most ``limit`` events that were sent, of tasks that are over."""
    over = [str(status) for status in TaskStatus if status.is_over]
    tasks = tables.tasks
    living = exists().where(tasks.c.id == _T.c.task_id, tasks.c.status.not_in(over))
    query = select(_T.c.number).where(_T.c.sent_at.is_not(None), ~living)
    return list(connection.execute(query.limit(limit)).scalars())


def forget(connection: Connection, numbers: Sequence[int]) -> None:
    """Remove events."""
    connection.execute(delete(_T).where(_T.c.number.in_(numbers)))


def _events(connection: Connection, condition: ColumnElement[bool], limit: int | None) -> list[OutboxEvent]:
    query = select(_T.c.number, _T.c.message, _T.c.due_at).where(_T.c.sent_at.is_(None), condition)
    return [OutboxEvent(*row) for row in connection.execute(query.order_by(_T.c.number).limit(limit))]
