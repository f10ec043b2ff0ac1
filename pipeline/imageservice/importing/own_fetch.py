"""Fetching in the process that took the request, where only that has the leave to fetch: a token, which is never kept.

The fetch holds the import's task as a worker would. When the data is in staging, a worker goes on with the rest.
"""

from __future__ import annotations

import logging
import threading

from sqlalchemy import Connection

from pipeline.imageservice.catalog import tasks
from pipeline.imageservice.catalog.tasks import Task
from pipeline.imageservice.data.control import Control
from pipeline.imageservice.data.running import Stopping, running
from pipeline.imageservice.importing.run import run_fetch
from pipeline.imageservice.importing.wanted import Wanted
from pipeline.imageservice.service import Service

log = logging.getLogger("imageservice.import")


def claim(connection: Connection, service: Service, task: Task) -> Task:
    """Make a new task this process's."""
    keeper = service.leases
    claimed = tasks.claim(connection, [task.type], keeper.holder, keeper.seconds, node=task.node, task_id=task.id)
    return claimed or task


def start(service: Service, task: Task, token: str) -> None:
    """Fetch for a claimed task, beside the request."""
    threading.Thread(target=_fetch, args=[service, task, token], name=f"fetch-{task.id}", daemon=True).start()


def _fetch(service: Service, task: Task, token: str) -> None:
    control = Control()
    try:
        with running.listed(control), Wanted(service) as wanted, wanted.watched(task, control):
            run_fetch(service, task, control, token)
    except Stopping:
        log.info("task %s is left for a worker", task.id)
    except Exception:
        log.exception("task %s failed", task.id)
