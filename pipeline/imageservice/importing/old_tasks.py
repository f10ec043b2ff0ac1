"""``POST /v2/tasks`` of type ``import``: a new image, made and filled by one task. The old way, for administrators.

Since nobody knows the image's id before it is there, nothing of it stays when the task fails.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api.image_create import new_image
from pipeline.imageservice.api.tasks import IMPORT
from pipeline.imageservice.catalog import images, quotas, service_notes, tasks
from pipeline.imageservice.catalog.model import ImageStatus
from pipeline.imageservice.catalog.quotas import Resource
from pipeline.imageservice.catalog.tasks import Task, TaskStatus
from pipeline.imageservice.data.control import Control
from pipeline.imageservice.errors import Conflict, Invalid, ServiceError
from pipeline.imageservice.importing.run import run_import
from pipeline.imageservice.service import Service

TYPE = IMPORT
_DEFAULTS = {"disk_format": "qcow2", "container_format": "bare"}


def run(service: Service, task: Task, control: Control) -> None:
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
    run_import(service, dataclasses.replace(task, input=as_import), control)


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
        tasks.check(connection, task)
        limits = service.limits.of(image.owner)
        quotas.check(connection, image.owner, limits, {Resource.COUNT: 1, Resource.UPLOADING: 1})
        images.insert_image(connection, image)
        service_notes.put_if_absent(connection, image.id, service_notes.IMPORT_TASK, task.id)
        return tasks.renew(connection, task, service.leases.seconds, image_id=image.id)

    return service.database.write(work)


def _fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """The new image's fields as ``POST /v2/images`` would be given them."""
    fields = given.get("image_properties") or {}
    if not isinstance(fields, dict):
        raise Invalid("image_properties must be a JSON object")
    known = given.get("import_from_format")
    return {**_DEFAULTS, **({"disk_format": known} if known else {}), **fields}


def _refuse(service: Service, task: Task, message: str) -> None:
    hours = service.settings.api.tasks_hours

    def work(connection: Connection) -> None:
        tasks.finish(connection, task, TaskStatus.FAILURE, hours_to_live=hours, message=message)

    service.database.write(work)
