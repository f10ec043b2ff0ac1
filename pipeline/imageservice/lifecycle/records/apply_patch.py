"""Apply a patch to an image: every operation to one copy, in order, stored once or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.errors import Conflict, Forbidden
from pipeline.imageservice.lifecycle.records.create import FIELDS, require_visibility
from pipeline.imageservice.lifecycle.records.names import check_count, check_name, check_text, check_value, check_weight
from pipeline.imageservice.model.images import Image, ImageVisibility
from pipeline.imageservice.schema.json_patch import Operation
from pipeline.imageservice.service import Service


def check_operations(service: Service, operations: Sequence[Operation]) -> None:
    """Check what can be said without looking at the image: names and values. Raises ``Forbidden``, ``Invalid``."""
    quotas = service.settings.quotas
    for operation in operations:
        if operation.name == "id":
            raise Forbidden("Attribute 'id' is read-only.")
        check_name(operation.name)
        if operation.verb == "remove":
            continue
        value = operation.value if operation.index is None else [operation.value]
        check_value(service.image_schema, operation.name, value)
        if operation.name == "locations":
            check_count("locations", len(value), quotas.image_locations)
        elif operation.name not in FIELDS:
            check_text(operation.name, value, quotas.property_bytes)


def changed(service: Service, caller: Caller, image: Image, operations: Sequence[Operation]) -> Image:
    """``image`` after the operations (those on locations aside). Raises ``Forbidden``, ``Conflict``, ``LimitExceeded``.

    Every right is checked before anything is written. The cost grows with the operations and the image, not with both
    at once: other writers wait meanwhile.
    """
    draft = _Draft(service, caller, image)
    for operation in operations:
        if operation.name == "locations":
            continue
        if operation.name in FIELDS:
            draft.change_field(operation)
        else:
            draft.change_property(operation)
    after = draft.image()
    if after.visibility is not image.visibility:
        require_visibility(service, caller, after)
    quotas = service.settings.quotas
    if set(after.tags) - set(image.tags):
        check_count("tags", len(after.tags), quotas.image_tags)
    if set(after.properties) - set(image.properties):
        check_count("properties", len(after.properties), quotas.image_properties)
    check_weight(image, after, quotas.image_metadata_bytes)
    return after


class _Draft:
    """An image while operations are applied to it, one after another."""

    def __init__(self, service: Service, caller: Caller, image: Image) -> None:
        self._protections, self._caller, self._image = service.protections, caller, image
        self._fields: dict[str, Any] = {}
        self._properties = dict(image.properties)

    def image(self) -> Image:
        """Return the image as it is after the operations so far."""
        return dataclasses.replace(self._image, **self._fields, properties=self._properties)

    def change_field(self, operation: Operation) -> None:
        """Change one of the document's own fields."""
        name, value = operation.name, operation.value
        if operation.verb == "remove":
            raise Forbidden(f"Property {name} may not be removed.")
        if operation.verb == "add" and operation.strict:
            raise Conflict(f"Property {name} already present.")
        if name in ("disk_format", "container_format") and not self._image.status.formats_may_change:
            raise Forbidden(f"Attribute {name} can be only replaced for a queued image.")
        if name == "owner":
            value = value or None
            if value != self._fields.get("owner", self._image.owner) and not self._caller.is_admin:
                raise Forbidden("You are not permitted to change the owner of this image.")
        self._fields[FIELDS[name]] = _as_kept(name, value)

    def change_property(self, operation: Operation) -> None:
        """Change a custom property."""
        name = operation.name
        # A property that the caller may not read is not there for it, in whatever way it asks.
        present = name in self._properties and self._protections.may(self._caller, "read", name)
        if operation.verb == "remove":
            if not present:
                raise Conflict(f"Property {name} does not exist.")
            self._protections.require(self._caller, "delete", name)
            del self._properties[name]
            return
        if operation.verb == "replace" and not present:
            raise Conflict(f"Property {name} does not exist.")
        if operation.verb == "add" and present and operation.strict:
            raise Conflict(f"Property {name} already present.")
        self._protections.require(self._caller, "update" if present else "create", name)
        self._properties[name] = operation.value


def _as_kept(name: str, value: Any) -> Any:
    if name == "visibility":
        return ImageVisibility(value)
    if name == "tags":
        return tuple(dict.fromkeys(value))
    return value
