"""``/v2/images/{id}/actions/…``: taking an image out of use for a while."""

from __future__ import annotations

import falcon
from sqlalchemy import Connection

from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.lookup import find_image
from pipeline.imageservice.api.resource import Resource, refuse_body
from pipeline.imageservice.catalog import images
from pipeline.imageservice.catalog.model import Image, ImageStatus
from pipeline.imageservice.errors import Forbidden
from pipeline.imageservice.service import Service


class Action(Resource):
    """``deactivate`` or ``reactivate``; either is content when there is nothing left to do."""

    def __init__(self, service: Service, name: str, leads_to: ImageStatus) -> None:
        super().__init__(service)
        self._name = name
        self._goal = leads_to

    def on_post(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Do it."""
        refuse_body(req)
        caller = caller_of(req)
        context_of(req).image_id = image_id

        def work(connection: Connection) -> Image:
            before = find_image(connection, self.service.policy, caller, image_id, lock=True)
            self.service.policy.require(caller, self._name, before)
            if not before.status.has_settled_data:
                raise Forbidden(f"Not allowed to {self._name} an image in status '{before.status}'")
            if before.status is self._goal:
                return before
            return images.change(connection, before, status=self._goal)

        self.service.notifier.image("image.update", self.service.database.write(work), caller)
        resp.status = 204
