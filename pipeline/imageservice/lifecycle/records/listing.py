"""List images, page by page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.images import listing
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.errors import Forbidden, Invalid
from pipeline.imageservice.lifecycle.records.view import ImageView, view
from pipeline.imageservice.lifecycle.records.visibility import is_reachable
from pipeline.imageservice.model.images import Image
from pipeline.imageservice.model.queries import Query
from pipeline.imageservice.service import Service


class HiddenMarker(Forbidden):
    """The image that a page is to begin after is there, and not for this caller."""


@dataclass(frozen=True, slots=True)
class ImagePage:
    """One page of a list. ``marker``: the image the next page begins after, ``None`` when there is no further one.

    ``was_cut``: the page ended for the bytes of its images (``api.page_bytes``), before its limit.
    """

    images: Sequence[ImageView]
    marker: str | None
    was_cut: bool = False


def list_images(service: Service, caller: Caller, query: Query, marker: str | None = None) -> ImagePage:
    """Find the images that ``query`` asks for and the caller may see, those after the image ``marker``.

    Raises ``Forbidden``, ``HiddenMarker``, and ``Invalid`` for a marker that is no image.
    """
    service.policy.require(caller, "get_images")
    query = _narrowed(service, caller, query)
    with service.database.read() as connection:
        if marker is not None:
            query = dataclasses.replace(query, marker=_marker(connection, service, caller, marker))
        page = listing.page(connection, query, most_bytes=service.settings.api.page_bytes)
    shown = found = page.images
    if not service.policy.is_default("get_image"):
        shown = [image for image in found if service.policy.may(caller, "get_image", image)]
    further = found[-1].id if found and (page.was_cut or len(found) == query.limit) else None
    return ImagePage([view(service, caller, image) for image in shown], further, page.was_cut)


def _narrowed(service: Service, caller: Caller, query: Query) -> Query:
    """Return the list as this caller gets it: a property that it may not read finds nothing, as if no image had it."""
    if all(service.protections.may(caller, "read", name) for name, _ in query.properties):
        return query
    return dataclasses.replace(query, limit=0)


def _marker(connection: Connection, service: Service, caller: Caller, marker: str) -> Image:
    image = image_records.find(connection, marker)
    if image is None:
        raise Invalid(f"Invalid marker: there is no image {marker[:64]}.")
    if not (is_reachable(connection, caller, image) and service.policy.may(caller, "get_image", image)):
        raise HiddenMarker("Access to the image used as marker is forbidden.")
    return image
