"""Whether somebody still waits for what this process's tasks do: asked often, so that a cancelled one ends at once."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from pipeline.imageservice.catalog import images, service_notes
from pipeline.imageservice.catalog.tasks import Task
from pipeline.imageservice.data.control import Control
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.importing.job import Cancelled, ImageGone
from pipeline.imageservice.service import Service

log = logging.getLogger("imageservice.worker")

_PAUSE = 0.3


class Wanted:
    """Looks after the images of running tasks as a context manager; a few statements, and only while there are any."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._changed = threading.Condition()
        self._over = False
        self._watched: dict[str, tuple[str, Control]] = {}  # by the task's id: its image's, and what ends it

    def __enter__(self) -> Self:
        """Begin to look, beside everything else."""
        threading.Thread(target=self._run, name="wanted", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()

    @contextlib.contextmanager
    def watched(self, task: Task, control: Control) -> Iterator[None]:
        """While the block runs, ``control`` is stopped when the task was cancelled or its image deleted."""
        if task.image_id is None:
            yield
            return
        with self._changed:
            self._watched[task.id] = (task.image_id, control)
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
            there = {image.id: image for image in images.by_ids(connection, [image for image, _ in watched.values()])}
        for task_id, (image_id, control) in watched.items():
            image = there.get(image_id)
            if image is None or image.status.is_gone:
                control.stop(ImageGone(f"Image {image_id} was deleted"))
            elif task_id in image.service.get(service_notes.CANCEL, "").split(","):
                control.stop(Cancelled())
