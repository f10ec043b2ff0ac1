"""Answer ``/v2/info/stores``, ``/v2/info/stores/detail`` and ``/v2/stores/{store}/{image}``."""

from __future__ import annotations

from typing import Any

import falcon

from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.resource import Resource, answer_json, refuse_body
from pipeline.imageservice.lifecycle.locations.copies import remove_copy
from pipeline.imageservice.lifecycle.store_info import StoreDetail, StoreInfo, list_details, list_stores


class StoresInfo(Resource):
    """``GET /v2/info/stores``: where images can be kept."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with ids and descriptions."""
        refuse_body(req)
        caller_of(req)
        answer_json(resp, {"stores": [_document(store) for store in list_stores(self.service)]})


class StoresDetail(Resource):
    """``GET /v2/info/stores/detail``: how the stores are set up, for operators."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer as above, with type, weight and properties, and whether they answer."""
        refuse_body(req)
        found = list_details(self.service, caller_of(req))
        answer_json(resp, {"stores": [_detailed(store) for store in found]})


class StoredImage(Resource):
    """``DELETE /v2/stores/{store_id}/{image_id}``: take an image out of one store."""

    def on_delete(self, req: falcon.Request, resp: falcon.Response, store_id: str, image_id: str) -> None:
        """Delete the image's data in this store, at once; the last copy stays."""
        refuse_body(req)
        caller = caller_of(req)
        context_of(req).image_id = image_id
        remove_copy(self.service, caller, image_id, store_id)
        resp.status = 204


def _document(store: StoreInfo) -> dict[str, Any]:
    document: dict[str, Any] = {"id": store.id}
    if store.description:
        document["description"] = store.description
    if store.is_default:
        document["default"] = "true"
    if not store.is_writable:
        document["read-only"] = "true"
    return document


def _detailed(store: StoreDetail) -> dict[str, Any]:
    document = _document(store.info)
    document |= {"type": store.type, "weight": store.weight, "properties": store.properties}
    document |= {"healthy": store.fault is None, **({"fault": store.fault} if store.fault else {})}
    return document
