"""Answer ``/v2/images/{id}/tags/{tag}``: one label on or off an image."""

from __future__ import annotations

import falcon

from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.resource import Resource, refuse_body
from pipeline.imageservice.lifecycle.patch import add_tag, remove_tag


class Tag(Resource):
    """One tag of an image."""

    def on_put(self, req: falcon.Request, resp: falcon.Response, image_id: str, tag: str) -> None:
        """Put the tag on; one that is there already is no error."""
        refuse_body(req)
        context_of(req).image_id = image_id
        add_tag(self.service, caller_of(req), image_id, tag)
        resp.status = 204

    def on_delete(self, req: falcon.Request, resp: falcon.Response, image_id: str, tag: str) -> None:
        """Take the tag off."""
        refuse_body(req)
        context_of(req).image_id = image_id
        remove_tag(self.service, caller_of(req), image_id, tag)
        resp.status = 204
