"""Cancel an import, and retry one that failed. Both are our own addition to the API."""

from __future__ import annotations

import logging

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.images import service_notes
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.errors import Conflict, NotFound
from pipeline.imageservice.importing.job.finish import fail
from pipeline.imageservice.importing.job.job import Cancelled, Job, LeaseLost
from pipeline.imageservice.importing.job.request import TYPE
from pipeline.imageservice.importing.job.submit import ImportSubmission, submit
from pipeline.imageservice.lifecycle.records.visibility import find_image
from pipeline.imageservice.model.images import Image, ImageStatus
from pipeline.imageservice.model.tasks import Task, TaskStatus
from pipeline.imageservice.service import Service

log = logging.getLogger("imageservice.import")


def cancel(service: Service, caller: Caller, image_id: str, task_id: str) -> None:
    """Ask for a running import to end; its worker undoes what was done. Raises ``NotFound``, ``Conflict``."""

    def work(connection: Connection) -> None:
        image = find_image(connection, service.policy, caller, image_id, lock=True)
        task = _task_of(connection, image, task_id)
        _require(service, caller, image, task)
        if task.status.is_over:
            raise Conflict(f"Task {task_id} is over already")
        service_notes.change_list(connection, image.id, service_notes.CANCEL, add=[task.id])
        image_records.change(connection, image)

    service.database.write(work)
    _end_waiting(service, task_id)


def _end_waiting(service: Service, task_id: str) -> None:
    """End a cancelled import that no worker has taken yet: its turn may be far away."""
    keeper = service.leases
    with service.database.read() as connection:
        node = task_queue.get(connection, task_id).node
    task = service.database.write(
        lambda connection: task_queue.claim(
            connection, [TYPE], keeper.holder, keeper.seconds, node=node, task_id=task_id
        )
    )
    if task is None:
        return
    job, cancelled = Job(service, task, CancelToken()), Cancelled()
    try:
        fail(job, cancelled.message, job.stores)
    except LeaseLost as lost:
        log.info("task %s: %s", task_id, lost.message)


def retry(service: Service, caller: Caller, image_id: str, task_id: str, request_id: str) -> Task | None:
    """Do a failed import again. Stores that failed while others took the data get a copy.

    Raises as ``submit``; a failed glance-direct import needs its data staged anew.
    """
    with service.database.read() as connection:
        image = find_image(connection, service.policy, caller, image_id)
        task = _task_of(connection, image, task_id)
    _require(service, caller, image, task)
    if not task.status.is_over:
        raise Conflict(f"Task {task_id} is still under way")
    given = task.input or {}
    failed = image.service.get(service_notes.FAILED_IMPORT, "").split(",")
    lacking = [store for store in given["backend"] if store in failed]
    if image.status is ImageStatus.ACTIVE and lacking:
        body = {"method": {"name": "copy-image"}, "stores": lacking}
    elif task.status is TaskStatus.SUCCESS:
        raise Conflict(f"Task {task_id} has succeeded")
    else:
        body = {**given["import_req"], "stores": given["backend"]}
        body.pop("all_stores", None)
    return submit(service, caller, image_id, ImportSubmission(body, None, request_id))


def _task_of(connection: Connection, image: Image, task_id: str) -> Task:
    task = task_queue.get(connection, task_id)
    if task.image_id != image.id or task.type != TYPE:
        raise NotFound(f"Task not found: {task_id}")
    return task


def _require(service: Service, caller: Caller, image: Image, task: Task) -> None:
    if not caller.is_admin and task.owner != caller.project:
        raise NotFound(f"Task not found: {task.id}")
    method = (task.input or {})["import_req"]["method"]["name"]
    service.policy.require(caller, "copy_image" if method == "copy-image" else "modify_image", image)
