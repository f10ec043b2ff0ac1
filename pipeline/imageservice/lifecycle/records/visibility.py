"""Find an image for a caller. What the caller cannot see does not exist: 404, before any rule is asked."""

from __future__ import annotations

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.access.policy import AccessPolicy
from pipeline.imageservice.catalog.images import members
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.errors import NotFound
from pipeline.imageservice.model.images import Image, ImageVisibility


def find_image(
    connection: Connection, policy: AccessPolicy, caller: Caller, image_id: str, *, lock: bool = False
) -> Image:
    """Return the image, if the caller can see it; with ``lock`` nobody else changes it until the transaction ends.

    Raises ``NotFound``.
    """
    if len(image_id) > 36:
        raise NotFound(f"No image found with ID {image_id[:64]}")
    image = (image_records.lock if lock else image_records.get)(connection, image_id)
    if not is_reachable(connection, caller, image) or not policy.may(caller, "get_image", image):
        raise NotFound(f"No image found with ID {image_id}")
    return image


def is_reachable(connection: Connection, caller: Caller, image: Image) -> bool:
    """Return whether the image lies within the caller's view: own, open to all, shared with its project, or nobody's.

    Without a token, public images are all there is.
    """
    if caller.read_only:
        return image.visibility is ImageVisibility.PUBLIC
    if caller.is_admin or image.owner is None or image.visibility.is_open:
        return True
    if caller.project is None:
        return False
    if image.owner == caller.project:
        return True
    if image.visibility is not ImageVisibility.SHARED:
        return False
    return members.find(connection, image.id, caller.project) is not None
