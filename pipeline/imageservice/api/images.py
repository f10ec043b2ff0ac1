"""``/v2/images`` and ``/v2/images/{id}``: the records."""

from __future__ import annotations

import dataclasses
from typing import Any

import falcon
from sqlalchemy import Connection

from pipeline.imageservice import deletion
from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api import image_locations
from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.documents import image_document
from pipeline.imageservice.api.image_changes import changed, check_operations
from pipeline.imageservice.api.image_create import new_image, store
from pipeline.imageservice.api.image_query import read_query
from pipeline.imageservice.api.lookup import find_image, is_reachable
from pipeline.imageservice.api.parameters import parameters_of
from pipeline.imageservice.api.resource import Resource, answer_json, read_json, refuse_body
from pipeline.imageservice.api.versions import public_url
from pipeline.imageservice.catalog import images, json_patch, listing
from pipeline.imageservice.catalog.json_patch import Operation
from pipeline.imageservice.catalog.model import Image
from pipeline.imageservice.errors import Forbidden, Invalid, UnsupportedContent

PATCH_TYPE = "application/openstack-images-v2.1-json-patch"
OLD_PATCH_TYPE = "application/openstack-images-v2.0-json-patch"


class Images(Resource):
    """All images: list and create."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """A page of the images the caller sees."""
        refuse_body(req)
        caller = caller_of(req)
        service = self.service
        service.policy.require(caller, "get_images")
        parameters = parameters_of(req)
        query = read_query(parameters, caller, service.settings.api)
        with service.database.read() as connection:
            marker = parameters.one("marker")
            if marker is not None:
                query = dataclasses.replace(query, marker=self._marker(connection, caller, marker))
            page = listing.page(connection, query)
        shown = page
        if not service.policy.is_default("get_image"):
            shown = [image for image in page if service.policy.may(caller, "get_image", image)]
        document: dict[str, Any] = {"images": [image_document(service, caller, image) for image in shown]}
        again = parameters.without("marker")
        document["first"] = again.link("/v2/images")
        if page and len(page) == query.limit:
            document["next"] = again.link("/v2/images", marker=page[-1].id)
        document["schema"] = "/v2/schemas/images"
        answer_json(resp, document)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """A new image, without data."""
        caller = caller_of(req)
        service = self.service
        if caller.read_only:
            service.policy.require(caller, "add_image")
        image = new_image(service, caller, read_json(req, service.settings.api.max_body))
        image = store(service, caller, image)
        context_of(req).image_id = image.id
        answer_json(resp, image_document(service, caller, image), 201)
        resp.set_header("Location", f"{public_url(service, req)}/v2/images/{image.id}")
        if service.import_methods:
            resp.set_header("OpenStack-image-import-methods", ",".join(service.import_methods))
        if service.stores.several:
            resp.set_header("OpenStack-image-store-ids", ",".join(store.id for store in service.stores))

    def _marker(self, connection: Connection, caller: Caller, marker: str) -> Image:
        image = images.find(connection, marker)
        if image is None:
            raise Invalid(f"Invalid marker: there is no image {marker[:64]}.")
        if not is_reachable(connection, caller, image):
            raise Forbidden("Access to the image used as marker is forbidden.")
        return image


class OneImage(Resource):
    """One image: show, change and delete."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """The image document."""
        refuse_body(req)
        caller = caller_of(req)
        with self.service.database.read() as connection:
            image = find_image(connection, self.service.policy, caller, image_id)
        answer_json(resp, image_document(self.service, caller, image))

    def on_patch(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Change fields, properties, tags and (where they are shown) locations."""
        caller = caller_of(req)
        service = self.service
        operations = self._operations(req, resp)
        check_operations(service, operations)
        context_of(req).image_id = image_id
        if any(operation.name == "locations" for operation in operations):
            after = image_locations.patch(service, caller, image_id, operations)
        else:
            after = service.database.write(lambda connection: self._change(connection, caller, image_id, operations))
        service.notifier.image("image.update", after, caller)
        answer_json(resp, image_document(service, caller, after))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Delete the image and its data."""
        refuse_body(req)
        caller = caller_of(req)
        context_of(req).image_id = image_id
        deletion.delete(self.service, caller, image_id)
        resp.status = 204

    def _change(self, connection: Connection, caller: Caller, image_id: str, operations: list[Operation]) -> Image:
        service = self.service
        before = find_image(connection, service.policy, caller, image_id, lock=True)
        service.policy.require(caller, "modify_image", before)
        after = changed(service, caller, before, operations)
        return images.save(connection, before, after) if after != before else before

    def _operations(self, req: falcon.Request, resp: falcon.Response) -> list[Operation]:
        kind = (req.content_type or "").partition(";")[0].strip().lower()
        if kind not in (PATCH_TYPE, OLD_PATCH_TYPE):
            resp.set_header("Accept-Patch", f"{PATCH_TYPE}, {OLD_PATCH_TYPE}")
            raise UnsupportedContent(f"A patch comes as {PATCH_TYPE} or {OLD_PATCH_TYPE}")
        body = read_json(req, self.service.settings.api.max_body)
        return json_patch.parse(body, old_form=kind == OLD_PATCH_TYPE)
