"""What is left in staging when nobody waits for it any more, and imports whose data lies on a node that is gone."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from pipeline.imageservice.catalog import images, leases, tasks
from pipeline.imageservice.catalog.model import ImageStatus, now
from pipeline.imageservice.catalog.tasks import Task
from pipeline.imageservice.data.control import Control
from pipeline.imageservice.data.receiving import PREFIX
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.importing import ending
from pipeline.imageservice.importing.job import ImageGone, Job
from pipeline.imageservice.importing.request import TYPE
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.errors import ObjectMissing

log = logging.getLogger("imageservice.worker")

_YOUNG = timedelta(minutes=2)  # what is so new may belong to a request that has not told the catalog yet
_NODE = "node/"
_NODE_SECONDS = 60.0
_ID = 36


def sweep_staging(service: Service) -> int:
    """Remove staged data that no image waits for; how many objects that were."""
    gone = 0
    for found in list(service.staging.objects()):
        if datetime.now(UTC) - found.modified < _YOUNG or _is_wanted(service, found.name[:_ID]):
            continue
        try:
            service.staging.delete(found.stored.uri)
        except ObjectMissing:
            continue
        log.info("staged data that no image waits for was removed: %s", found.name)
        gone += 1
    return gone


def _is_wanted(service: Service, image_id: str) -> bool:
    with service.database.read() as connection:
        image = images.find(connection, image_id)
        held = leases.find(connection, PREFIX + image_id)
    waits = image is not None and image.status in (ImageStatus.UPLOADING, ImageStatus.IMPORTING, ImageStatus.SAVING)
    return waits or held is not None


def show_alive(service: Service) -> None:
    """Let the other nodes know that this one runs."""

    def work(connection: Connection) -> None:
        name = _NODE + service.own_node
        lease = leases.find(connection, name)
        if lease is not None and lease.holder == service.own_node:
            leases.renew(connection, lease, _NODE_SECONDS)
        else:
            leases.acquire(connection, name, service.own_node, _NODE_SECONDS)

    service.database.write(work)


def give_up_lost(service: Service) -> int:
    """End imports whose staged data lies on a node that has not been seen for long; how many there were."""
    with service.database.read() as connection:
        waiting = [task for task in tasks.bound(connection, [TYPE]) if _is_lost(service, connection, task)]
    for task in waiting:
        claimed = service.database.write(
            lambda connection, task=task: tasks.claim(  # type: ignore[misc]
                connection, [TYPE], service.leases.holder, service.leases.seconds, node=task.node, task_id=task.id
            )
        )
        if claimed is None:
            continue
        job = Job(service, claimed, Control())
        try:
            ending.fail(
                job, f"The node that has the staged data, {task.node}, is gone; stage the data again", job.stores
            )
        except ImageGone:
            ending.abandon(job)
        except ServiceError as error:
            log.warning("task %s could not be ended: %s", task.id, error.message)
    return len(waiting)


def _is_lost(service: Service, connection: Connection, task: Task) -> bool:
    if task.node is None or task.node == service.own_node or task.is_claimed:
        return False
    patience = int(service.settings.imports.staging.lost_node_seconds * 1_000_000)
    lease = leases.find(connection, _NODE + task.node)
    seen = lease.expires_at if lease is not None else task.created_at
    return max(seen, task.created_at) + patience < now()
