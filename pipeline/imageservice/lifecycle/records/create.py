"""Create images from the documents that clients send."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog import quotas
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.errors import Forbidden, Invalid
from pipeline.imageservice.lifecycle.guards.properties import check_new
from pipeline.imageservice.lifecycle.records.names import check_count, check_name, check_text, check_value, check_weight
from pipeline.imageservice.lifecycle.records.view import ImageView, view
from pipeline.imageservice.model.images import Image, ImageVisibility, now
from pipeline.imageservice.service import Service

# Fields of the document and what they are called in the catalog.
FIELDS = {
    "name": "name",
    "visibility": "visibility",
    "protected": "protected",
    "os_hidden": "hidden",
    "owner": "owner",
    "container_format": "container_format",
    "disk_format": "disk_format",
    "min_ram": "min_ram",
    "min_disk": "min_disk",
    "tags": "tags",
}


def require_writer(service: Service, caller: Caller) -> None:
    """Raise ``Forbidden`` for a caller without a token, who creates nothing, whatever the request's body says."""
    if caller.read_only:
        service.policy.require(caller, "add_image")


def create(service: Service, caller: Caller, body: Any, *, with_data: bool = False) -> ImageView:
    """Make the image that ``body``, a document, asks for. ``with_data``: its data comes next.

    Raises ``Invalid``, ``Forbidden``, ``Conflict``, and ``LimitExceeded`` beyond the project's limits.
    """
    image = new_image(service, caller, body)
    if with_data and not image.has_formats:
        raise Invalid("Give disk_format and container_format along with the data")
    limits: Mapping[quotas.QuotaResource, int] = {}
    if service.limits.on:
        with service.slots.turns.given_up():  # the identity service may be asked
            limits = service.limits.of(caller.project)

    def insert(connection: Connection) -> tuple[Image, tuple[str, ...]]:
        warnings = check_new(service, connection, caller, image)
        quotas.check(connection, caller.project, limits, {quotas.QuotaResource.COUNT: 1})
        return image_records.insert_image(connection, image), warnings

    kept, warnings = service.database.write(insert)
    service.notifier.image("image.create", kept, caller)
    return view(service, caller, kept, warnings)


def new_image(service: Service, caller: Caller, body: Any) -> Image:
    """Return the image that ``body`` asks for, checked and allowed. Raises ``Invalid``, ``Forbidden``,
    ``LimitExceeded``.
    """
    if not isinstance(body, dict):
        raise Invalid("Request body must be a JSON object of the image's fields.")
    _check_values(service, body)
    for name in body:
        check_name(name)
        if name == "locations":
            raise Forbidden("Attribute 'locations' is reserved: it cannot be set when an image is created.")
    fields = {FIELDS[name]: value for name, value in body.items() if name in FIELDS}
    properties = {name: value for name, value in body.items() if name not in FIELDS and name != "id"}
    owner = (body["owner"] or None) if "owner" in body else caller.project
    moment = now()
    fields |= {
        "id": body.get("id") or str(uuid.uuid4()),
        "owner": owner,
        "visibility": ImageVisibility(body.get("visibility", "shared")),
        "tags": tuple(dict.fromkeys(body.get("tags", ()))),
        "properties": properties,
        "created_at": moment,
        "updated_at": moment,
    }
    image = Image(**fields)
    _authorise(service, caller, image)
    _check_counts(service, image)
    return image


def _check_values(service: Service, body: dict[str, Any]) -> None:
    schema = service.image_schema
    for name, value in body.items():
        if name not in schema.base:
            check_text(name, value, service.settings.quotas.property_bytes)
        if not isinstance(value, str) or name in schema.base or name in schema.typed:
            check_value(schema, name, value)
    missing = [name for name in schema.required if name not in body]
    if missing:
        raise Invalid(f"Provided object does not match schema 'image': {missing[0]} is missing, and required here")


def _authorise(service: Service, caller: Caller, image: Image) -> None:
    target = {
        **image.properties,
        "project_id": caller.project,
        "owner": image.owner,
        "visibility": str(image.visibility),
    }
    if not service.policy.may(caller, "add_image", target):
        if image.owner != caller.project and not caller.is_admin:
            raise Forbidden(f"You are not permitted to create images owned by '{image.owner}'.")
        service.policy.require(caller, "add_image", target)
    require_visibility(service, caller, image)
    for name in image.properties:
        service.protections.require(caller, "create", name)


def require_visibility(service: Service, caller: Caller, image: Image) -> None:
    """Raise ``Forbidden`` unless the caller may give the image the visibility it has."""
    if image.visibility is ImageVisibility.PUBLIC:
        service.policy.require(caller, "publicize_image", image)
    if image.visibility is ImageVisibility.COMMUNITY:
        service.policy.require(caller, "communitize_image", image)


def _check_counts(service: Service, image: Image) -> None:
    quotas = service.settings.quotas
    check_count("tags", len(image.tags), quotas.image_tags)
    check_count("properties", len(image.properties), quotas.image_properties)
    check_weight(None, image, quotas.image_metadata_bytes)
