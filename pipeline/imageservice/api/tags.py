"""``/v2/images/{id}/tags/{tag}``: one label on or off an image."""

from __future__ import annotations

import dataclasses

import falcon
from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.image_names import check_count
from pipeline.imageservice.api.lookup import find_image
from pipeline.imageservice.api.resource import Resource, refuse_body
from pipeline.imageservice.catalog import images
from pipeline.imageservice.catalog.model import Image
from pipeline.imageservice.errors import Invalid, NotFound

_LONGEST = 255


class Tag(Resource):
    """One tag of an image."""

    def on_put(self, req: falcon.Request, resp: falcon.Response, image_id: str, tag: str) -> None:
        """Put the tag on; one that is there already is no error."""
        refuse_body(req)
        caller = caller_of(req)
        context_of(req).image_id = image_id
        if len(tag) > _LONGEST:
            raise Invalid(f"Tags may have {_LONGEST} characters, this one has {len(tag)}.")

        def work(connection: Connection) -> Image:
            before = self._lock(connection, caller, image_id)
            if tag in before.tags:
                return before
            check_count("tags", len(before.tags) + 1, self.service.settings.quotas.image_tags)
            return images.save(connection, before, dataclasses.replace(before, tags=(*before.tags, tag)))

        self.service.notifier.image("image.update", self.service.database.write(work), caller)
        resp.status = 204

    def on_delete(self, req: falcon.Request, resp: falcon.Response, image_id: str, tag: str) -> None:
        """Take the tag off."""
        refuse_body(req)
        caller = caller_of(req)
        context_of(req).image_id = image_id

        def work(connection: Connection) -> Image:
            before = self._lock(connection, caller, image_id)
            if tag not in before.tags:
                raise NotFound(f"Image {image_id} has no tag {tag[:64]}.")
            left = tuple(one for one in before.tags if one != tag)
            return images.save(connection, before, dataclasses.replace(before, tags=left))

        self.service.notifier.image("image.update", self.service.database.write(work), caller)
        resp.status = 204

    def _lock(self, connection: Connection, caller: Caller, image_id: str) -> Image:
        before = find_image(connection, self.service.policy, caller, image_id, lock=True)
        self.service.policy.require(caller, "modify_image", before)
        return before
