"""The worker process: what outlives a request, and what nobody asked for but somebody has to do.

It runs beside the API processes, or alone on other hosts. Any number may run: tasks are claimed with a lease, and so is
each piece of housekeeping that must not be done twice at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.imageservice import deletion
from pipeline.imageservice.catalog import tasks
from pipeline.imageservice.data import recovery
from pipeline.imageservice.data.running import running
from pipeline.imageservice.service import Service

log = logging.getLogger("imageservice.worker")

_LAST_WORDS = 10.0


@dataclass
class _Chore:
    """Something done every ``seconds``."""

    name: str
    seconds: float
    do: Callable[[], object]
    due: float = field(default=0.0)


class Worker:
    """One worker process's loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stop = threading.Event()
        lease = service.settings.data.upload_lease
        self._chores = [
            _Chore("recovery", min(5.0, lease / 4), lambda: recovery.recover(service)),
            _Chore("deletion", 30.0, self._scrub),
            _Chore("old tasks", 60.0, lambda: service.database.write(tasks.forget_expired)),
        ]

    def stop(self) -> None:
        """End the loop; what is being done is given back for another worker."""
        self._stop.set()

    def run(self) -> None:
        """Work until told to stop."""
        log.info("worker ready")
        while not self._stop.is_set():
            for chore in self._chores:
                if chore.due <= time.monotonic() and not self._stop.is_set():
                    self._do(chore)
            self._stop.wait(max(0.05, min(chore.due for chore in self._chores) - time.monotonic()))
        running.stop()
        running.wait(_LAST_WORDS)

    def _do(self, chore: _Chore) -> None:
        try:
            chore.do()
        except Exception:
            log.exception("%s failed; it will be tried again", chore.name)
        chore.due = time.monotonic() + chore.seconds

    def _scrub(self) -> None:
        options = self._service.settings.database
        deletion.finish_pending(self._service, older_than=options.scrub_after if options.delayed_delete else 60)
