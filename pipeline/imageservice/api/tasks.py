"""``/v2/tasks`` (deprecated, administrators only) and the tasks of one image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import falcon
from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api import task_query
from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.documents import image_task_document, task_document, task_stub
from pipeline.imageservice.api.lookup import find_image
from pipeline.imageservice.api.parameters import parameters_of
from pipeline.imageservice.api.resource import GetOnly, Resource, answer_json, read_json, refuse_body
from pipeline.imageservice.api.versions import public_url
from pipeline.imageservice.catalog import task_listing, tasks
from pipeline.imageservice.catalog.tasks import Task
from pipeline.imageservice.errors import Invalid, MethodNotAllowed
from pipeline.imageservice.service import Service

IMPORT = "import"


class Tasks(Resource):
    """All tasks: list and create."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """A page of tasks."""
        refuse_body(req)
        caller = caller_of(req)
        self.service.policy.require(caller, "tasks_api_access")
        parameters = parameters_of(req)
        query = task_query.read_query(parameters, self.service.settings.api)

        with self.service.database.read() as connection:
            page = task_listing.page(connection, query)
        again = parameters.without("marker")
        document: dict[str, Any] = {"tasks": [task_stub(task) for task in page], "first": again.link("/v2/tasks")}
        if page and len(page) == query.limit:
            document["next"] = again.link("/v2/tasks", marker=page[-1].id)
        document["schema"] = "/v2/schemas/tasks"
        answer_json(resp, document)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """A new import task, for a worker to do."""
        caller = caller_of(req)
        self.service.policy.require(caller, "tasks_api_access")
        body = read_json(req, self.service.settings.api.max_body)
        input_ = _checked_input(body)
        _check_source(self.service, input_)

        def work(connection: Connection) -> Task:
            return tasks.create(
                connection,
                IMPORT,
                owner=caller.project,
                input_=input_,
                user_id=caller.user,
                request_id=context_of(req).request_id,
                state={"project": caller.project, "roles": sorted(caller.roles), "is_admin": caller.is_admin},
            )

        task = self.service.database.write(work)
        self.service.notifier.task("task.create", task, caller)
        answer_json(resp, task_document(task), 201)
        resp.set_header("Location", f"{public_url(self.service, req)}/v2/tasks/{task.id}")


class OneTask(Resource):
    """One task."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, task_id: str) -> None:
        """The task."""
        refuse_body(req)
        caller = caller_of(req)
        self.service.policy.require(caller, "tasks_api_access")
        with self.service.database.read() as connection:
            task = tasks.get(connection, task_id)
        answer_json(resp, task_document(task))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, task_id: str) -> NoReturn:
        """Tasks cannot be deleted; who may not know that is not told so."""
        self.service.policy.require(caller_of(req), "tasks_api_access")
        raise MethodNotAllowed(("GET",))


class ImageTasks(GetOnly):
    """``GET /v2/images/{id}/tasks``: what is done about one image."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """The tasks, newest first; others than administrators see those of their project."""
        refuse_body(req)
        caller = caller_of(req)
        with self.service.database.read() as connection:
            image = find_image(connection, self.service.policy, caller, image_id)
            found = tasks.of_image(connection, image.id)
        answer_json(resp, {"tasks": [image_task_document(task) for task in found if _is_for(caller, task)]})


def _is_for(caller: Caller, task: Task) -> bool:
    return caller.is_admin or (caller.project is not None and task.owner == caller.project)


def _check_source(service: Service, input_: Mapping[str, Any]) -> None:
    source = input_.get("import_from")
    if source is None:
        return  # a missing one is for the task to fail on, as clients know it
    scheme = source.partition(":")[0].lower() if isinstance(source, str) else ""
    if scheme not in ("http", "https"):
        raise Invalid("import_from must be an http or https URI")
    service.uri_filter.check(source, what="import", resolve=service.settings.imports.download.proxy is None)


def _checked_input(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Invalid("Request body must be a JSON object with type and input.")
    for name in ("type", "input"):
        if name not in body:
            raise Invalid(f"Task '{name}' is required")
    if body["type"] != IMPORT:
        raise Invalid(f"Task type {str(body['type'])[:64]!r} is not one that can be created; use {IMPORT}")
    extra = sorted(set(body) - {"type", "input"})
    if extra:
        raise Invalid(f"Attribute '{extra[0][:64]}' is read-only or unknown.")
    if not isinstance(body["input"], dict):
        raise Invalid("Task 'input' must be a JSON object")
    return body["input"]
