"""Send events at least once, also when the process that wrote them is killed at any moment.

Each is written down in the transaction of what it tells of. It is sent at once; what a dead process left is sent by the
worker that goes on with its task, else by the next that looks. Its id follows from the event itself: who gets it twice
can tell.
"""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.catalog.tasks import outbox
from pipeline.imageservice.catalog.tasks.outbox import OutboxEvent
from pipeline.imageservice.notifications.notifier import Level, Notifier

_NAMESPACE = uuid.UUID("6d0ba0ea-6a38-5a3f-9f0c-5a0c7d6d2d0e")
_OURS = 5.0  # seconds in which nobody but the process that wrote an event sends it
_SENDING = 300.0  # seconds that sending to all targets may take, with every repetition
_BATCH = 100


class Outbox:
    """Keeps events in the catalog until the notifier has sent them."""

    def __init__(self, database: Database, notifier: Notifier) -> None:
        self._database, self._notifier = database, notifier

    def put(
        self,
        connection: Connection,
        event: str,
        payload: dict[str, Any],
        caller: Caller | None,
        *,
        task_id: str,
        key: str,
        level: Level = "INFO",
    ) -> None:
        """Write an event of a task down, once for each ``key``; ``send`` sends it when the transaction is through.

        The transaction holds the task, so that nobody writes the same at the same time.
        """
        if not self._notifier.wants(event):
            return
        event_id = str(uuid.uuid5(_NAMESPACE, f"{task_id} {event} {key} {level}"))
        if not outbox.is_kept(connection, event_id):
            message = self._notifier.message(event, payload, caller, level, message_id=event_id)
            outbox.add(connection, event_id, task_id, message, seconds=_OURS)

    def send(self, task_id: str, after: int = 0) -> int:
        """Send what was written down of a task, behind the number ``after``; returns the number of the last."""
        if not self._notifier.has_targets:
            return after
        with self._database.read() as connection:
            events = outbox.of_task(connection, task_id, after)
        self._send(events)
        return max((event.number for event in events), default=after)

    def sweep(self) -> None:
        """Send what others left behind, and forget what nobody needs any more."""
        with self._database.read() as connection:
            left, old = outbox.due(connection, _BATCH), outbox.forgettable(connection, _BATCH)
        if left:
            # Claimed now, so that the next look does not find what waits for a slow target.
            self._send(self._database.write(lambda connection: _claimed(connection, left)))
        if old:
            self._database.write(lambda connection: outbox.forget(connection, old))

    def _send(self, events: list[OutboxEvent]) -> None:
        for event in events:
            self._notifier.enqueue(_Delivery(self._database, event))


def _claimed(connection: Connection, events: list[OutboxEvent]) -> list[OutboxEvent]:
    taken = [outbox.claim(connection, event, seconds=_SENDING) for event in events]
    return [event for event in taken if event is not None]


class _Delivery:
    """An event on its way to the targets; another process may have sent it meanwhile."""

    def __init__(self, database: Database, event: OutboxEvent) -> None:
        self._database, self._event = database, event
        self.message = event.message

    def begin(self) -> bool:
        """See ``notifier.Delivery``."""
        return bool(self._database.write(lambda connection: _claimed(connection, [self._event])))

    def end(self) -> None:
        """See ``notifier.Delivery``."""
        self._database.write(lambda connection: outbox.mark_sent(connection, self._event))
