"""Answer ``/v2/tasks`` (deprecated, administrators only) and the tasks of one image."""

from __future__ import annotations

from typing import Any, NoReturn

import falcon

from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.documents import image_task_document, task_document, task_stub
from pipeline.imageservice.api.options import ApiOptions
from pipeline.imageservice.api.parameters import Parameters, is_uuid, parameters_of, read_directions, read_limit
from pipeline.imageservice.api.resource import SMALL_BODY, GetOnly, Resource, answer_json, read_json, refuse_body
from pipeline.imageservice.api.versions import public_url
from pipeline.imageservice.errors import Invalid, MethodNotAllowed
from pipeline.imageservice.importing.job import old_tasks
from pipeline.imageservice.lifecycle.tasks import list_tasks, require_access, show_task, tasks_of_image
from pipeline.imageservice.model.queries import TASK_SORT_KEYS, TaskQuery
from pipeline.imageservice.model.tasks import TaskStatus

_FILTERS = ("status", "type", "owner", "id", "image_id", "user_id", "request_id", "message")


class Tasks(Resource):
    """All tasks: list and create."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of tasks."""
        refuse_body(req)
        caller = caller_of(req)
        require_access(self.service, caller)
        parameters = parameters_of(req)
        query = _read_query(parameters, self.service.settings.api)
        page = list_tasks(self.service, caller, query)
        again = parameters.without("marker")
        document: dict[str, Any] = {"tasks": [task_stub(task) for task in page], "first": again.link("/v2/tasks")}
        if page and len(page) == query.limit:
            document["next"] = again.link("/v2/tasks", marker=page[-1].id)
        document["schema"] = "/v2/schemas/tasks"
        answer_json(resp, document)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Create an import task, for a worker to do."""
        caller = caller_of(req)
        require_access(self.service, caller)
        given = checked_input(read_json(req, SMALL_BODY))
        task = old_tasks.submit(self.service, caller, given, context_of(req).request_id)
        answer_json(resp, task_document(task), 201)
        resp.set_header("Location", f"{public_url(self.service, req)}/v2/tasks/{task.id}")


class OneTask(Resource):
    """One task."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, task_id: str) -> None:
        """Answer with the task."""
        refuse_body(req)
        answer_json(resp, task_document(show_task(self.service, caller_of(req), task_id)))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, task_id: str) -> NoReturn:
        """Refuse: tasks cannot be deleted; who may not know that is not told so."""
        require_access(self.service, caller_of(req))
        raise MethodNotAllowed(("GET",))


class ImageTasks(GetOnly):
    """``GET /v2/images/{id}/tasks``: what is done about one image."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Answer with the tasks, newest first; others than administrators see those of their project."""
        refuse_body(req)
        found = tasks_of_image(self.service, caller_of(req), image_id)
        answer_json(resp, {"tasks": [image_task_document(task) for task in found]})


def checked_input(body: Any) -> dict[str, Any]:
    """Return the input of the task that ``body`` asks for. Raises ``Invalid``."""
    if not isinstance(body, dict):
        raise Invalid("Request body must be a JSON object with type and input.")
    for name in ("type", "input"):
        if name not in body:
            raise Invalid(f"Task '{name}' is required")
    if body["type"] != old_tasks.TYPE:
        raise Invalid(f"Task type {str(body['type'])[:64]!r} is not one that can be created; use {old_tasks.TYPE}")
    extra = sorted(set(body) - {"type", "input"})
    if extra:
        raise Invalid(f"Attribute '{extra[0][:64]}' is read-only or unknown.")
    given = body["input"]
    if not isinstance(given, dict) or not given:
        raise Invalid("Task 'input' must be a JSON object with import_from, import_from_format and image_properties")
    _check_types(given)
    return given


def _check_types(given: dict[str, Any]) -> None:
    """Refuse keys of the wrong type. A missing one is for the task to fail on, as clients know it."""
    if "import_from" in given and not isinstance(given["import_from"], str):
        raise Invalid("Task input 'import_from' must be text: an http or https URI")
    if not isinstance(given.get("import_from_format"), str | None):
        raise Invalid("Task input 'import_from_format' must be text: a disk format")
    if not isinstance(given.get("image_properties"), dict | None):
        raise Invalid("Task input 'image_properties' must be a JSON object of the image's fields")


def _read_query(parameters: Parameters, options: ApiOptions) -> TaskQuery:
    """Return the list that is asked for. Raises ``Invalid``."""
    marker = parameters.one("marker")
    if marker is not None and not is_uuid(marker):
        raise Invalid("Invalid marker format: a task's id is a UUID")
    key = parameters.one("sort_key") or "created_at"
    if key not in TASK_SORT_KEYS:
        raise Invalid(f"Invalid sort key: {key[:64]!r}; use {', '.join(TASK_SORT_KEYS)}")
    directions = read_directions(parameters.all("sort_dir")[-1:])
    filters = {name: value for name, value in parameters.pairs if name in _FILTERS}
    if "status" in filters and filters["status"] not in list(TaskStatus):
        raise Invalid(f"Invalid status value: {filters['status'][:64]!r}; use {', '.join(TaskStatus)}")
    if "type" in filters and filters["type"] != "import":
        raise Invalid(f"Invalid type value: {filters['type'][:64]!r}; use import")
    return TaskQuery(
        filters=tuple(sorted(filters.items())),
        sort_key=key,
        descending=directions[0] if directions else True,
        limit=read_limit(parameters, options),
        marker=marker,
    )
