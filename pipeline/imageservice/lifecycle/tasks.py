"""Look at tasks: those of one image, and, for administrators, all there are."""

from __future__ import annotations

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.tasks import listing
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.lifecycle.records.visibility import find_image
from pipeline.imageservice.model.queries import TaskQuery
from pipeline.imageservice.model.tasks import Task
from pipeline.imageservice.service import Service


def require_access(service: Service, caller: Caller) -> None:
    """Raise ``Forbidden`` for one who has nothing to do with tasks, whatever the request's body or query say."""
    service.policy.require(caller, "tasks_api_access")


def list_tasks(service: Service, caller: Caller, query: TaskQuery) -> list[Task]:
    """Find a page of tasks. Raises ``Forbidden``, and ``Invalid`` for an unknown marker."""
    require_access(service, caller)
    with service.database.read() as connection:
        return listing.page(connection, query)


def show_task(service: Service, caller: Caller, task_id: str) -> Task:
    """Look at one task. Raises ``Forbidden``, ``NotFound``."""
    require_access(service, caller)
    with service.database.read() as connection:
        return task_queue.get(connection, task_id)


def tasks_of_image(service: Service, caller: Caller, image_id: str) -> list[Task]:
    """Find an image's tasks, newest first; others than administrators see those of their project.

    Raises ``NotFound``.
    """
    with service.database.read() as connection:
        image = find_image(connection, service.policy, caller, image_id)
        found = task_queue.of_image(connection, image.id)
    return [task for task in found if _is_for(caller, task)]


def _is_for(caller: Caller, task: Task) -> bool:
    return caller.is_admin or (caller.project is not None and task.owner == caller.project)
