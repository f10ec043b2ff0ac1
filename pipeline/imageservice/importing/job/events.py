"""Tell of an import what happens in each store, with the stores that are still to come and those that failed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.model.tasks import Task
from pipeline.imageservice.notifications.notifier import Level
from pipeline.imageservice.notifications.payloads import import_payload
from pipeline.imageservice.service import Service

log = logging.getLogger("imageservice.import")


class ImportEvents:
    """The events of one import. Each is one for each store, whichever worker comes to it; see ``Outbox``."""

    def __init__(self, service: Service, task: Task, image_id: str) -> None:
        self._service, self._task, self._image_id = service, task, image_id
        state = task.state or {}
        self._caller = Caller(project=state.get("project"), user=task.user_id)
        self._sending = threading.Lock()
        self._sent = 0

    def prepare(self, connection: Connection, stores: Iterable[str]) -> None:
        """Tell that data is about to be stored."""
        self._put(connection, "image.prepare", stores)

    def upload(self, connection: Connection, store: str) -> None:
        """Tell that a store has the data."""
        self._put(connection, "image.upload", [store])

    def failure(self, connection: Connection, stores: Iterable[str], error: str) -> None:
        """Tell that stores failed, or that the whole import did, of each store that was told of once."""
        self._put(connection, "image.upload", stores, level="ERROR", error=error)

    def activate(self, connection: Connection, stores: Iterable[str]) -> None:
        """Tell that the image is active, with the data in these stores."""
        self._put(connection, "image.activate", stores)

    def send(self) -> None:
        """Send what was written down so far, by this worker or by those before it. Call it outside transactions."""
        with self._sending:
            try:
                self._sent = self._service.outbox.send(self._task.id, after=self._sent)
            except ServiceError as error:
                log.warning("events of task %s are sent later: %s", self._task.id, error.message)

    def _put(
        self, connection: Connection, event: str, stores: Iterable[str], *, level: Level = "INFO", **more: Any
    ) -> None:
        if not self._service.notifier.wants(event):
            return
        image = image_records.get(connection, self._image_id, gone=True)
        for store in stores:
            payload = {**import_payload(image, self._task.id, store), **more}
            self._service.outbox.put(
                connection, event, payload, self._caller, task_id=self._task.id, key=store, level=level
            )
