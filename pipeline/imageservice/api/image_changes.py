"""Applying a patch to an image: every operation to one copy, in order, stored once or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api.image_create import FIELDS, require_visibility
from pipeline.imageservice.api.image_names import check_count, check_name, check_value
from pipeline.imageservice.catalog.json_patch import Operation
from pipeline.imageservice.catalog.model import Image, Visibility
from pipeline.imageservice.errors import Conflict, Forbidden
from pipeline.imageservice.service import Service


def check_operations(service: Service, operations: Sequence[Operation]) -> None:
    """What can be said without looking at the image: names and values. Raises ``Forbidden``, ``Invalid``."""
    for operation in operations:
        if operation.name == "id":
            raise Forbidden("Attribute 'id' is read-only.")
        check_name(operation.name)
        if operation.verb == "remove":
            continue
        if operation.index is not None:
            check_value(service.image_schema, operation.name, [operation.value])
        else:
            check_value(service.image_schema, operation.name, operation.value)


def changed(service: Service, caller: Caller, image: Image, operations: Sequence[Operation]) -> Image:
    """``image`` after the operations (those on locations aside). Raises ``Forbidden``, ``Conflict``, ``LimitExceeded``.

    Every right is checked before anything is written.
    """
    after = image
    for operation in operations:
        if operation.name == "locations":
            continue
        if operation.name in FIELDS:
            after = _change_field(caller, after, operation)
        else:
            after = _change_property(service, caller, after, operation)
    if after.visibility is not image.visibility:
        require_visibility(service, caller, after)
    quotas = service.settings.quotas
    if set(after.tags) - set(image.tags):
        check_count("tags", len(after.tags), quotas.image_tags)
    if set(after.properties) - set(image.properties):
        check_count("properties", len(after.properties), quotas.image_properties)
    return after


def _change_field(caller: Caller, image: Image, operation: Operation) -> Image:
    name, value = operation.name, operation.value
    if operation.verb == "remove":
        raise Forbidden(f"Property {name} may not be removed.")
    if operation.verb == "add" and operation.strict:
        raise Conflict(f"Property {name} already present.")
    if name in ("disk_format", "container_format") and not image.status.formats_may_change:
        raise Forbidden(f"Attribute {name} can be only replaced for a queued image.")
    if name == "owner":
        value = value or None
        if value != image.owner and not caller.is_admin:
            raise Forbidden("You are not permitted to change the owner of this image.")
    return dataclasses.replace(image, **{FIELDS[name]: _as_kept(name, value)})


def _change_property(service: Service, caller: Caller, image: Image, operation: Operation) -> Image:
    name = operation.name
    # A property that the caller may not read is not there for it, in whatever way it asks.
    present = name in image.properties and service.protections.may(caller, "read", name)
    properties = dict(image.properties)
    if operation.verb == "remove":
        if not present:
            raise Conflict(f"Property {name} does not exist.")
        service.protections.require(caller, "delete", name)
        del properties[name]
        return dataclasses.replace(image, properties=properties)
    if operation.verb == "replace" and not present:
        raise Conflict(f"Property {name} does not exist.")
    if operation.verb == "add" and present and operation.strict:
        raise Conflict(f"Property {name} already present.")
    service.protections.require(caller, "update" if name in properties else "create", name)
    properties[name] = operation.value
    return dataclasses.replace(image, properties=properties)


def _as_kept(name: str, value: Any) -> Any:
    if name == "visibility":
        return Visibility(value)
    if name == "tags":
        return tuple(dict.fromkeys(value))
    return value
