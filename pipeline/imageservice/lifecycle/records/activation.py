"""Take an image out of use for a while, and back."""

from __future__ import annotations

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.errors import Forbidden
from pipeline.imageservice.lifecycle.records.visibility import find_image
from pipeline.imageservice.model.images import Image, ImageStatus
from pipeline.imageservice.service import Service


def deactivate(service: Service, caller: Caller, image_id: str) -> None:
    """Let nobody but administrators read the data; an image that is deactivated already stays so.

    Raises ``NotFound``, and ``Forbidden``, also for an image without data.
    """
    _change(service, caller, image_id, "deactivate", ImageStatus.DEACTIVATED)


def reactivate(service: Service, caller: Caller, image_id: str) -> None:
    """Bring a deactivated image back into use. Raises as ``deactivate``."""
    _change(service, caller, image_id, "reactivate", ImageStatus.ACTIVE)


def _change(service: Service, caller: Caller, image_id: str, rule: str, goal: ImageStatus) -> None:
    def work(connection: Connection) -> Image:
        before = find_image(connection, service.policy, caller, image_id, lock=True)
        service.policy.require(caller, rule, before)
        if not before.status.has_settled_data:
            raise Forbidden(f"Not allowed to {rule} an image in status '{before.status}'")
        return before if before.status is goal else image_records.change(connection, before, status=goal)

    service.notifier.image("image.update", service.database.write(work), caller)
