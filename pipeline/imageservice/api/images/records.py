"""Answer ``/v2/images`` and ``/v2/images/{id}``: the records."""

from __future__ import annotations

from typing import Any

import falcon

from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.documents import image_document
from pipeline.imageservice.api.images.query import read_query
from pipeline.imageservice.api.parameters import parameters_of
from pipeline.imageservice.api.resource import Resource, answer_json, answer_warnings, read_json, refuse_body
from pipeline.imageservice.api.versions import public_url
from pipeline.imageservice.errors import UnsupportedContent
from pipeline.imageservice.lifecycle import deletion
from pipeline.imageservice.lifecycle.patch import patch
from pipeline.imageservice.lifecycle.records.create import create, require_writer
from pipeline.imageservice.lifecycle.records.listing import list_images
from pipeline.imageservice.lifecycle.records.view import show
from pipeline.imageservice.schema import json_patch
from pipeline.imageservice.schema.json_patch import Operation

PATCH_TYPE = "application/openstack-images-v2.1-json-patch"
OLD_PATCH_TYPE = "application/openstack-images-v2.0-json-patch"


class Images(Resource):
    """All images: list and create."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of the images the caller sees."""
        refuse_body(req)
        caller = caller_of(req)
        parameters = parameters_of(req)
        query = read_query(parameters, caller, self.service.settings.api)
        page = list_images(self.service, caller, query, parameters.one("marker"))
        document: dict[str, Any] = {"images": [image_document(self.service, image) for image in page.images]}
        again = parameters.without("marker")
        document["first"] = again.link("/v2/images")
        if page.marker is not None:
            document["next"] = again.link("/v2/images", marker=page.marker)
        document["schema"] = "/v2/schemas/images"
        answer_json(resp, document)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Create an image, without data."""
        caller = caller_of(req)
        service = self.service
        require_writer(service, caller)
        view = create(service, caller, read_json(req, service.settings.api.max_body))
        context_of(req).image_id = view.image.id
        answer_json(resp, image_document(service, view), 201)
        answer_warnings(resp, view.warnings)
        resp.set_header("Location", f"{public_url(service, req)}/v2/images/{view.image.id}")
        if service.import_methods:
            resp.set_header("OpenStack-image-import-methods", ",".join(service.import_methods))
        if service.stores.several:
            resp.set_header("OpenStack-image-store-ids", ",".join(store.id for store in service.stores))


class OneImage(Resource):
    """One image: show, change and delete."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Answer with the image document."""
        refuse_body(req)
        answer_json(resp, image_document(self.service, show(self.service, caller_of(req), image_id)))

    def on_patch(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Change fields, properties, tags and (where they are shown) locations."""
        operations = self._operations(req, resp)
        context_of(req).image_id = image_id
        view = patch(self.service, caller_of(req), image_id, operations)
        answer_json(resp, image_document(self.service, view))
        answer_warnings(resp, view.warnings)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Delete the image and its data."""
        refuse_body(req)
        caller = caller_of(req)
        context_of(req).image_id = image_id
        deletion.delete(self.service, caller, image_id)
        resp.status = 204

    def _operations(self, req: falcon.Request, resp: falcon.Response) -> list[Operation]:
        kind = (req.content_type or "").partition(";")[0].strip().lower()
        if kind not in (PATCH_TYPE, OLD_PATCH_TYPE):
            resp.set_header("Accept-Patch", f"{PATCH_TYPE}, {OLD_PATCH_TYPE}")
            raise UnsupportedContent(f"A patch comes as {PATCH_TYPE} or {OLD_PATCH_TYPE}")
        body = read_json(req, self.service.settings.api.max_body)
        return json_patch.parse(body, old_form=kind == OLD_PATCH_TYPE, most=self.service.settings.api.patch_operations)
