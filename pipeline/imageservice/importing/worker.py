"""Run durable work in a process of its own: what outlives a request, and what nobody asked for but somebody has to do.

It runs next to the API processes, or alone on other hosts. Any number may run: tasks are claimed with a lease, and so
is each piece of housekeeping that must not be done twice at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from pipeline.imageservice.cancellation.active_transfers import Stopping, running
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog.database import purge
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.importing.job import old_tasks
from pipeline.imageservice.importing.job.cancellation_watch import CancellationWatch
from pipeline.imageservice.importing.job.request import TYPE
from pipeline.imageservice.importing.job.run import run_import
from pipeline.imageservice.importing.maintenance import housekeeping
from pipeline.imageservice.importing.task_slots import TaskSlots
from pipeline.imageservice.lifecycle import deletion
from pipeline.imageservice.lifecycle.locations import location_import
from pipeline.imageservice.lifecycle.transfer import recovery
from pipeline.imageservice.model.images import ImageStatus, now
from pipeline.imageservice.model.tasks import Task
from pipeline.imageservice.service import Service

log = logging.getLogger("imageservice.worker")

_LAST_WORDS = 10.0
_PAUSE = 0.25  # seconds between looks for work
_YOUNG = 30_000_000  # microseconds in which a request may still be about to attach a location


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
        self._fault = ""
        self._slots = TaskSlots(service)
        self._cancellations = CancellationWatch(service)
        self._kinds: Mapping[str, Callable[[Task, CancelToken], None]] = {
            TYPE: lambda task, cancel_token: run_import(service, task, cancel_token),
            old_tasks.TYPE: lambda task, cancel_token: old_tasks.run(service, task, cancel_token),
            location_import.TYPE: self._read_location,
        }
        self._groups = (frozenset({TYPE, old_tasks.TYPE}), frozenset({location_import.TYPE}))
        lease, lost = service.settings.data.upload_lease, service.settings.imports.staging.lost_node_seconds
        self._chores = [
            _Chore("recovery", min(5.0, lease / 4), lambda: recovery.recover(service)),
            _Chore("deletion", service.settings.database.scrub_interval, self._scrub),
            _Chore("staging", 60.0, lambda: housekeeping.sweep_staging(service)),
            _Chore("node", min(15.0, lost / 4), lambda: housekeeping.show_alive(service)),
            _Chore("lost nodes", min(30.0, lost / 4), lambda: housekeeping.give_up_lost(service)),
            _Chore("slots", 1.0, lambda: self._slots.preempt(self._groups[0])),
            _Chore("outbox", 5.0, service.outbox.sweep),
            _Chore("old tasks", 60.0, lambda: service.database.write(task_queue.forget_expired)),
            _Chore("purge", 600.0, self._purge),
        ]

    def stop(self) -> None:
        """End the loop; what is being done is given back for another worker."""
        self._stop.set()

    def run(self) -> None:
        """Work until told to stop."""
        log.info("worker ready")
        with self._cancellations:
            while not self._stop.is_set():
                for chore in self._chores:
                    if chore.due <= time.monotonic() and not self._stop.is_set():
                        self._do(chore)
                if not any(self._take(group) for group in self._groups):
                    self._stop.wait(_PAUSE)
        running.stop()
        running.wait(_LAST_WORDS)

    def _take(self, kinds: frozenset[str]) -> bool:
        """Begin the next task of ``kinds``, which have slots of their own, if there is one and a slot for it."""
        if self._stop.is_set() or not self._slots.free(kinds):
            return False
        try:
            task = self._claim(kinds)
            self._fault = ""
        except Exception as error:
            fault = (error.detail if isinstance(error, ServiceError) else None) or str(error)
            if fault != self._fault:  # a database that is down is asked several times a second
                log.warning("no task could be claimed: %s", fault)
            self._fault, task = fault, None
        if task is None:
            return False
        self._slots.take(kinds, task, cancel_token := CancelToken())
        threading.Thread(target=self._work, args=[task, cancel_token], name=f"task-{task.id}", daemon=True).start()
        return True

    def _claim(self, kinds: frozenset[str]) -> Task | None:
        service = self._service
        with service.database.read() as connection:
            if not task_queue.waiting(connection, kinds):
                return None  # a look costs nothing, a claim is a write
        return service.database.write(
            lambda connection: task_queue.claim(
                connection,
                kinds,
                service.leases.holder,
                service.leases.seconds,
                node=service.own_node,
                newcomers=self._slots.only_newcomers(kinds),
            )
        )

    def _work(self, task: Task, cancel_token: CancelToken) -> None:
        try:
            with running.listed(cancel_token), self._cancellations.watched(task, cancel_token):
                self._kinds[task.type](task, cancel_token)
        except Stopping:
            log.info("task %s is left for another worker", task.id)
        except Exception:
            log.exception("task %s failed", task.id)
        finally:
            self._slots.give_back(task)

    def _read_location(self, task: Task, cancel_token: CancelToken) -> None:
        """Find out the digests of data that was added by its location."""
        service = self._service
        if self._is_being_attached(task):
            service.database.write(lambda connection: task_queue.put_back(connection, task, delay=1))
            return

        def renew(connection: Connection) -> None:
            task_queue.renew(connection, task, service.leases.seconds)

        with service.leases.kept(renew, cancel_token):
            location_import.run(service, task, service.buffers, cancel_token)

    def _is_being_attached(self, task: Task) -> bool:
        """Whether the request that made the task has not come to its end yet."""
        if task.image_id is None or now() - task.created_at > _YOUNG:
            return False
        with self._service.database.read() as connection:
            image = image_records.find(connection, task.image_id)
        return image is not None and image.status is ImageStatus.QUEUED and not image.locations

    def _do(self, chore: _Chore) -> None:
        try:
            chore.do()
        except ServiceError as error:
            log.warning("%s failed, it will be tried again: %s", chore.name, error.detail or error.message)
        except Exception:
            log.exception("%s failed; it will be tried again", chore.name)
        chore.due = time.monotonic() + chore.seconds

    def _purge(self) -> None:
        days = self._service.settings.database.keep_deleted_days
        while self._service.database.write(lambda connection: purge.purge(connection, days=days)):
            if self._stop.is_set():
                return

    def _scrub(self) -> None:
        options = self._service.settings.database
        deletion.finish_pending(self._service, older_than=options.scrub_after if options.delayed_delete else 60)
