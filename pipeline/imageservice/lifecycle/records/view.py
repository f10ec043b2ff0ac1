"""Show what of an image one caller may see: every interface renders this, and none looks further."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.images import service_notes
from pipeline.imageservice.lifecycle.records.visibility import find_image
from pipeline.imageservice.model.images import Image, ImageStatus, Location
from pipeline.imageservice.service import Service


@dataclass(frozen=True, slots=True)
class ImageView:
    """An image as one caller may see it.

    ``properties``, ``notes`` (of the service, names without the prefix ``os_glance_``) and ``locations`` (those to try
    first come first) stand for those of ``image``, whose other fields are for everybody who sees it. ``stores`` are the
    ids of those that the locations are in; of a queued image it is the store whose data was refused, which nothing
    leads to. ``warnings`` are for whoever just changed the image.
    """

    image: Image
    properties: Mapping[str, str | None]
    notes: Mapping[str, str]
    locations: Sequence[Location]
    stores: Sequence[str]
    warnings: tuple[str, ...] = ()


def show(service: Service, caller: Caller, image_id: str) -> ImageView:
    """Look at one image. Raises ``NotFound``, also for one that the caller may not know of."""
    with service.database.read() as connection:
        image = find_image(connection, service.policy, caller, image_id)
    return view(service, caller, image)


def view(service: Service, caller: Caller, image: Image, warnings: tuple[str, ...] = ()) -> ImageView:
    """Leave out what this caller may not see of ``image``."""
    locations = _locations(service, caller, image)
    return ImageView(
        image,
        service.protections.readable(caller, dict(image.properties)),
        {name: value for name, value in image.service.items() if name not in service_notes.HIDDEN},
        locations,
        list(dict.fromkeys(one.store for one in locations if one.store)) or _refused(service, caller, image),
        warnings,
    )


def by_weight(service: Service, locations: tuple[Location, ...]) -> list[Location]:
    """Sort locations as they are shown and tried: heaviest store first, then by the store's id."""
    weights = {store.id: store.weight for store in service.stores}
    return sorted(locations, key=lambda location: (-weights.get(location.store or "", 0), location.store or ""))


def _locations(service: Service, caller: Caller, image: Image) -> Sequence[Location]:
    locations = image.readable_locations
    if not locations or (image.status is ImageStatus.DEACTIVATED and not caller.is_admin):
        return ()
    return by_weight(service, locations) if service.policy.may(caller, "get_image_location", image) else ()


def _refused(service: Service, caller: Caller, image: Image) -> list[str]:
    store = image.service.get(service_notes.REFUSED_STORE)
    if store is None or image.status is not ImageStatus.QUEUED:
        return []
    return [store] if service.policy.may(caller, "get_image_location", image) else []
