"""Import by ``POST /v2/tasks`` of type ``import``: a new image, made and filled by one task, for administrators.

Since nobody knows the image's id before it is there, nothing of it stays when the task fails.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog import quotas
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.images import service_notes
from pipeline.imageservice.catalog.quotas import QuotaResource
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.errors import Conflict, Invalid, ServiceError
from pipeline.imageservice.importing.job.run import run_import
from pipeline.imageservice.lifecycle.guards.properties import check_new
from pipeline.imageservice.lifecycle.records.create import new_image
from pipeline.imageservice.lifecycle.tasks import require_access
from pipeline.imageservice.model.images import ImageStatus
from pipeline.imageservice.model.tasks import Task, TaskStatus
from pipeline.imageservice.service import Service

TYPE = "import"
_DEFAULTS = {"disk_format": "qcow2", "container_format": "bare"}


def submit(service: Service, caller: Caller, given: Mapping[str, Any], request_id: str) -> Task:
    """Ask for such a task, for a worker to do; ``given`` is its input. Raises ``Forbidden``, ``Invalid``."""
    require_access(service, caller)
    _check_source(service, given)

    def work(connection: Connection) -> Task:
        return task_queue.create(
            connection,
            TYPE,
            owner=caller.project,
            input_=given,
            user_id=caller.user,
            request_id=request_id,
            state={"project": caller.project, "roles": sorted(caller.roles), "is_admin": caller.is_admin},
        )

    task = service.database.write(work)
    service.notifier.task("task.create", task, caller)
    return task


def _check_source(service: Service, given: Mapping[str, Any]) -> None:
    source = given.get("import_from")
    if source is None:
        return  # a missing one is for the task to fail on, as clients know it
    scheme = source.partition(":")[0].lower() if isinstance(source, str) else ""
    if scheme not in ("http", "https"):
        raise Invalid("import_from must be an http or https URI")
    service.ssrf_filter.check(source, what="import", resolve=service.settings.imports.download.proxy is None)


def run(service: Service, task: Task, cancel_token: CancelToken) -> None:
    """Do what a claimed task asks for."""
    try:
        task = task if task.image_id else _with_image(service, task)
    except Conflict:
        return  # another worker's by now
    except ServiceError as error:
        _refuse(service, task, error.message)
        return
    given = task.input or {}
    method = {"name": "web-download", "uri": given["import_from"]}
    stores = [service.stores.default.id]
    as_import = {"image_id": task.image_id, "import_req": {"method": method}, "backend": stores}
    run_import(service, dataclasses.replace(task, input=as_import), cancel_token)


def _with_image(service: Service, task: Task) -> Task:
    """Make the image, which from then on belongs to the task. Raises what is wrong with the task's input."""
    given, state = task.input or {}, dict(task.state or {})
    if not isinstance(given.get("import_from"), str):
        raise Invalid("Input does not contain 'import_from' field")
    caller = Caller(
        project=task.owner, user=task.user_id, roles=frozenset(state["roles"]), is_admin=bool(state["is_admin"])
    )
    image = dataclasses.replace(new_image(service, caller, _fields(given)), status=ImageStatus.SAVING)
    if not image.has_formats:
        raise Invalid("Properties disk_format, container_format must be set prior to saving data.")

    def work(connection: Connection) -> Task:
        task_queue.check(connection, task)
        limits = service.limits.of(image.owner)
        quotas.check(connection, image.owner, limits, {QuotaResource.COUNT: 1, QuotaResource.UPLOADING: 1})
        check_new(service, connection, caller, image)
        image_records.insert_image(connection, image)
        service_notes.put_if_absent(connection, image.id, service_notes.IMPORT_TASK, task.id)
        return task_queue.renew(connection, task, service.leases.seconds, image_id=image.id)

    return service.database.write(work)


def _fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the new image's fields as ``POST /v2/images`` would be given them."""
    fields = given.get("image_properties") or {}
    if not isinstance(fields, dict):  # of a task that an earlier version took
        raise Invalid("image_properties must be a JSON object")
    known = given.get("import_from_format")
    return {**_DEFAULTS, **({"disk_format": known} if known else {}), **fields}


def _refuse(service: Service, task: Task, message: str) -> None:
    hours = service.settings.api.tasks_hours

    def work(connection: Connection) -> None:
        task_queue.finish(connection, task, TaskStatus.FAILURE, hours_to_live=hours, message=message)

    service.database.write(work)
