"""Answer ``/v2/images/{id}/actions/…``: take an image out of use for a while."""

from __future__ import annotations

from collections.abc import Callable

import falcon

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.resource import Resource, refuse_body
from pipeline.imageservice.service import Service


class Action(Resource):
    """``deactivate`` or ``reactivate``; either is content when there is nothing left to do."""

    def __init__(self, service: Service, act: Callable[[Service, Caller, str], None]) -> None:
        super().__init__(service)
        self._act = act

    def on_post(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Do it."""
        refuse_body(req)
        context_of(req).image_id = image_id
        self._act(self.service, caller_of(req), image_id)
        resp.status = 204
