"""``/v2/info/stores``, ``/v2/info/stores/detail`` and ``/v2/stores/{store}/{image}``."""

from __future__ import annotations

from typing import Any

import falcon
from sqlalchemy import Connection

from pipeline.imageservice import deletion
from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.lookup import find_image
from pipeline.imageservice.api.resource import Resource, answer_json, refuse_body
from pipeline.imageservice.catalog import images, locations
from pipeline.imageservice.catalog.model import Image, ImageStatus, Location, LocationState
from pipeline.imageservice.errors import Conflict, Forbidden, NotFound, ServiceError
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.store import Store


class StoresInfo(Resource):
    """``GET /v2/info/stores``: where images can be kept."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Ids and descriptions."""
        refuse_body(req)
        caller_of(req)
        _require_several(self.service)
        answer_json(resp, {"stores": [_document(self.service, store) for store in self.service.stores]})


class StoresDetail(Resource):
    """``GET /v2/info/stores/detail``: how the stores are set up, for operators."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """As above, with type, weight and properties, and whether they answer."""
        refuse_body(req)
        self.service.policy.require(caller_of(req), "stores_info_detail")
        _require_several(self.service)
        faults = self.service.health.faults()
        answer_json(
            resp,
            {
                "stores": [
                    {
                        **_document(self.service, store),
                        "type": store.type,
                        "weight": store.weight,
                        "properties": store.properties(),
                        **_health(faults[store.id]),
                    }
                    for store in self.service.stores
                ]
            },
        )


class StoredImage(Resource):
    """``DELETE /v2/stores/{store_id}/{image_id}``: take an image out of one store."""

    def on_delete(self, req: falcon.Request, resp: falcon.Response, store_id: str, image_id: str) -> None:
        """Its data there goes at once; the last copy stays."""
        refuse_body(req)
        caller = caller_of(req)
        context_of(req).image_id = image_id
        _require_several(self.service)
        if store_id not in self.service.stores:
            raise Conflict(f"The selected store {store_id[:64]} is not available on this node.")
        remove_copy(self.service, caller, image_id, store_id)
        resp.status = 204


def remove_copy(service: Service, caller: Caller, image_id: str, store_id: str) -> None:
    """Delete an image's copy in one store. Raises ``NotFound``, ``Forbidden``, ``Conflict``, the store's errors."""

    def begin(connection: Connection) -> tuple[Image, Location]:
        image = find_image(connection, service.policy, caller, image_id, lock=True)
        place = _copy_to_remove(service, caller, image, store_id)
        locations.change(connection, place, state=LocationState.DELETING)
        return images.change(connection, image), place

    after, place = service.database.write(begin)
    try:
        deletion.remove_data(service, place)
    except ServiceError:
        service.database.write(lambda connection: _bring_back(connection, image_id, place))
        raise
    service.notifier.image("image.update", after, caller)


def _copy_to_remove(service: Service, caller: Caller, image: Image, store_id: str) -> Location:
    service.policy.require(caller, "get_image_location", image)
    service.policy.require(caller, "delete_image_location", image)
    image.require(ImageStatus.ACTIVE, doing="taken out of a store")
    copies = image.readable_locations
    if len(copies) == 1:
        raise Forbidden("Cannot delete the last copy of an image; delete the image instead.")
    for place in copies:
        if place.store == store_id:
            return place
    raise NotFound(f"Image {image.id} is not in store {store_id}")


def _bring_back(connection: Connection, image_id: str, place: Location) -> None:
    image = images.find(connection, image_id)
    if image is not None:
        before = images.lock(connection, image_id)
        locations.change(connection, place, state=LocationState.ACTIVE)
        images.change(connection, before)


def _require_several(service: Service) -> None:
    if not service.stores.several:
        raise NotFound("Multi backend is not supported at this site.")


def _health(fault: str | None) -> dict[str, Any]:
    return {"healthy": fault is None} | ({"fault": fault} if fault else {})


def _document(service: Service, store: Store) -> dict[str, Any]:
    document: dict[str, Any] = {"id": store.id}
    if store.description:
        document["description"] = store.description
    if store is service.stores.default:
        document["default"] = "true"
    if not store.capabilities.writable:
        document["read-only"] = "true"
    return document
