"""Clean up staging when nobody waits for what is in it, and give up imports whose data lies on a node that is gone."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog.images import objects
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.tasks import leases
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.importing.job import finish as job_finish
from pipeline.imageservice.importing.job.job import ImageGone, Job
from pipeline.imageservice.importing.job.request import TYPE
from pipeline.imageservice.lifecycle.guards.objects import identify
from pipeline.imageservice.lifecycle.transfer.upload_claim import PREFIX
from pipeline.imageservice.model.images import ImageStatus, now
from pipeline.imageservice.model.tasks import Task
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.errors import ObjectMissing

log = logging.getLogger("imageservice.worker")

_YOUNG = timedelta(minutes=2)  # what is so new may belong to a request that has not told the catalog yet
_NODE = "node/"
_NODE_SECONDS = 60.0  # the same on all nodes: when one was last seen is told by the end of its lease
_ID = 36


def sweep_staging(service: Service) -> int:
    """Remove staged data that no image waits for, whole or not; how many objects that were.

    Half-made data of an import that another node has taken over lies here until then: only this node sees it.
    """
    gone = 0
    for left in list(service.staging.incomplete()):
        if not _is_needed(service, left.name[:_ID]):
            service.staging.discard(left)
            log.info("half of the data of an image that does not wait for it was removed: %s", left.name)
            gone += 1
    for found in list(service.staging.objects()):
        if datetime.now(UTC) - found.modified < _YOUNG or _is_needed(service, found.name[:_ID]):
            continue
        try:
            service.staging.delete(found.stored.uri)
        except ObjectMissing:
            continue
        identity = identify(service, service.staging, found.stored.uri)
        service.database.write(lambda connection, identity=identity: _let_go(connection, identity))  # type: ignore[misc]
        log.info("staged data that no image waits for was removed: %s", found.name)
        gone += 1
    return gone


def _is_needed(service: Service, image_id: str) -> bool:
    with service.database.read() as connection:
        image = image_records.find(connection, image_id)
        held = leases.find(connection, PREFIX + image_id)
    waits = image is not None and image.status in (ImageStatus.UPLOADING, ImageStatus.IMPORTING, ImageStatus.SAVING)
    return waits or held is not None


def _let_go(connection: Connection, identity: str) -> None:
    row = objects.find(connection, identity)
    if row is not None:
        objects.let_go(connection, row)


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
        waiting = [task for task in task_queue.bound(connection, [TYPE]) if _is_lost(service, connection, task)]
    for task in waiting:
        claimed = service.database.write(
            lambda connection, task=task: task_queue.claim(  # type: ignore[misc]
                connection, [TYPE], service.leases.holder, service.leases.seconds, node=task.node, task_id=task.id
            )
        )
        if claimed is None:
            continue
        job = Job(service, claimed, CancelToken())
        try:
            job_finish.fail(
                job, f"The node that has the staged data, {task.node}, is gone; stage the data again", job.stores
            )
        except ImageGone:
            job_finish.abandon(job)
        except ServiceError as error:
            log.warning("task %s could not be ended: %s", task.id, error.message)
    return len(waiting)


def _is_lost(service: Service, connection: Connection, task: Task) -> bool:
    if task.node is None or task.node == service.own_node or task.is_claimed:
        return False
    grace = int(service.settings.imports.staging.lost_node_seconds * 1_000_000)
    lease = leases.find(connection, _NODE + task.node)
    seen = lease.expires_at - int(_NODE_SECONDS * 1_000_000) if lease is not None else task.created_at
    return max(seen, task.created_at) + grace < now()
