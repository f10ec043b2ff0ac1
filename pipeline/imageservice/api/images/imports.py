"""Answer ``POST /v2/images/{id}/import`` and an import's task: submit, cancel and retry."""

from __future__ import annotations

import falcon

from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.resource import SMALL_BODY, Resource, answer_accepted, read_json, refuse_body
from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.importing.job.cancellation import cancel, retry
from pipeline.imageservice.importing.job.submit import ImportSubmission, submit


class ImageImport(Resource):
    """``/v2/images/{image_id}/import``."""

    def on_post(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Begin the import; the answer comes at once, the image and its task tell the rest."""
        caller = caller_of(req)
        context = context_of(req)
        context.image_id = image_id
        body = read_json(req, SMALL_BODY)
        if not isinstance(body, dict):
            raise Invalid("An import is a JSON object with a method")
        asked = ImportSubmission(body, req.get_header("X-Image-Meta-Store"), context.request_id)
        submit(self.service, caller, image_id, asked)
        answer_accepted(resp)


class ImageTask(Resource):
    """``/v2/images/{image_id}/tasks/{task_id}``."""

    def on_delete(self, req: falcon.Request, resp: falcon.Response, image_id: str, task_id: str) -> None:
        """End a running import; what it has done so far is undone."""
        refuse_body(req)
        caller = caller_of(req)
        context_of(req).image_id = image_id
        cancel(self.service, caller, image_id, task_id)
        answer_accepted(resp)


class ImageTaskRetry(Resource):
    """``/v2/images/{image_id}/tasks/{task_id}/retry``."""

    def on_post(self, req: falcon.Request, resp: falcon.Response, image_id: str, task_id: str) -> None:
        """Do a failed import again, by a task of its own."""
        refuse_body(req)
        caller = caller_of(req)
        context = context_of(req)
        context.image_id = image_id
        retry(self.service, caller, image_id, task_id, context.request_id)
        answer_accepted(resp)
