"""Fetch in the process that took the request, where only that may fetch: it has a token, which is never kept.

The fetch holds the import's task as a worker would. When the data is in staging, a worker goes on with the rest.
"""

from __future__ import annotations

import logging
import threading

from sqlalchemy import Connection

from pipeline.imageservice.cancellation.active_transfers import Stopping, running
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.importing.job.cancellation_watch import CancellationWatch
from pipeline.imageservice.importing.job.run import run_fetch
from pipeline.imageservice.model.tasks import Task
from pipeline.imageservice.service import Service

log = logging.getLogger("imageservice.import")


def claim(connection: Connection, service: Service, task: Task) -> Task:
    """Make a new task this process's."""
    keeper = service.leases
    claimed = task_queue.claim(connection, [task.type], keeper.holder, keeper.seconds, node=task.node, task_id=task.id)
    return claimed or task


def start(service: Service, task: Task, token: str) -> None:
    """Fetch for a claimed task, while the request goes on."""
    threading.Thread(target=_fetch, args=[service, task, token], name=f"fetch-{task.id}", daemon=True).start()


def _fetch(service: Service, task: Task, token: str) -> None:
    cancel_token = CancelToken()
    try:
        with running.listed(cancel_token), CancellationWatch(service) as watch, watch.watched(task, cancel_token):
            run_fetch(service, task, cancel_token, token)
    except Stopping:
        log.info("task %s is left for a worker", task.id)
    except Exception:
        log.exception("task %s failed", task.id)
