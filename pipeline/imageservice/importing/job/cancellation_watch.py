"""Watch for cancellation: whether somebody still waits for what this process's tasks do, asked often."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.images import service_notes
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.importing.job.job import Cancelled, ImageGone
from pipeline.imageservice.model.tasks import Task
from pipeline.imageservice.service import Service

log = logging.getLogger("imageservice.worker")

_PAUSE = 0.3


class CancellationWatch:
    """Looks after the images of running tasks as a context manager; a few statements, and only while there are any."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._changed = threading.Condition()
        self._over = False
        self._watched: dict[str, tuple[str, CancelToken]] = {}  # by the task's id: its image's, and what ends it

    def __enter__(self) -> Self:
        """Begin to look, while everything else goes on."""
        threading.Thread(target=self._run, name="wanted", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()

    @contextlib.contextmanager
    def watched(self, task: Task, cancel_token: CancelToken) -> Iterator[None]:
        """Stop ``cancel_token`` while the block runs, once the task is cancelled or its image deleted."""
        if task.image_id is None:
            yield
            return
        with self._changed:
            self._watched[task.id] = (task.image_id, cancel_token)
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                del self._watched[task.id]

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._watched and not self._over:
                    self._changed.wait()
                if self._over:
                    return
            time.sleep(_PAUSE)
            try:
                self._look()
            except ServiceError as error:
                log.info("the catalog does not answer: %s", error.message)
            except Exception:
                log.exception("it cannot be told whether imports are still wanted")

    def _look(self) -> None:
        with self._changed:
            watched = dict(self._watched)
        with self._service.database.read() as connection:
            there = {
                image.id: image for image in image_records.by_ids(connection, [image for image, _ in watched.values()])
            }
        for task_id, (image_id, cancel_token) in watched.items():
            image = there.get(image_id)
            if image is None or image.status.is_gone:
                cancel_token.stop(ImageGone(f"Image {image_id} was deleted"))
            elif task_id in image.service.get(service_notes.CANCEL, "").split(","):
                cancel_token.stop(Cancelled())
