"""Change an image's fields, properties, tags and, where they are shown, locations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.data.slots.slots import SlotKind
from pipeline.imageservice.errors import Conflict, Invalid, NotFound
from pipeline.imageservice.lifecycle.guards import properties, signatures
from pipeline.imageservice.lifecycle.guards.signatures import SignatureProof, SignatureUnproven
from pipeline.imageservice.lifecycle.locations import patch as patch_locations
from pipeline.imageservice.lifecycle.records.apply_patch import changed, check_operations
from pipeline.imageservice.lifecycle.records.names import check_count, check_weight
from pipeline.imageservice.lifecycle.records.view import ImageView, view
from pipeline.imageservice.lifecycle.records.visibility import find_image
from pipeline.imageservice.model.images import Image
from pipeline.imageservice.schema.json_patch import Operation
from pipeline.imageservice.service import Service

_LONGEST_TAG = 255
_ATTEMPTS = 3


def patch(service: Service, caller: Caller, image_id: str, operations: Sequence[Operation]) -> ImageView:
    """Apply all operations, or none; returns the image as it is then.

    Raises ``NotFound``, ``Forbidden``, ``Invalid``, ``Conflict``, ``LimitExceeded``.
    """
    check_operations(service, operations)
    if any(operation.name == "locations" for operation in operations):
        after, warnings = patch_locations.patch(service, caller, image_id, operations)
    else:
        after, warnings = _proven(service, caller, image_id, lambda image: operations)
    service.notifier.image("image.update", after, caller)
    return view(service, caller, after, warnings)


def patch_as(
    service: Service, caller: Caller, image_id: str, choose: Callable[[ImageView], Sequence[Operation]]
) -> ImageView:
    """Patch as ``patch`` does, with operations that ``choose`` makes of the image, which nobody else changes meanwhile.

    They must leave locations alone.
    """

    def checked(image: Image) -> Sequence[Operation]:
        operations = choose(view(service, caller, image))
        check_operations(service, operations)
        return operations

    after, warnings = _proven(service, caller, image_id, checked)
    service.notifier.image("image.update", after, caller)
    return view(service, caller, after, warnings)


def add_tag(service: Service, caller: Caller, image_id: str, tag: str) -> None:
    """Put a tag on an image; one that is there already is no error.

    Raises ``NotFound``, ``Forbidden``, ``Invalid``, ``LimitExceeded``.
    """
    if len(tag) > _LONGEST_TAG:
        raise Invalid(f"Tags may have {_LONGEST_TAG} characters, this one has {len(tag)}.")

    def work(connection: Connection) -> Image:
        before = _locked(connection, service, caller, image_id)
        if tag in before.tags:
            return before
        check_count("tags", len(before.tags) + 1, service.settings.quotas.image_tags)
        after = dataclasses.replace(before, tags=(*before.tags, tag))
        check_weight(before, after, service.settings.quotas.image_metadata_bytes)
        return image_records.save(connection, before, after)

    service.notifier.image("image.update", service.database.write(work), caller)


def remove_tag(service: Service, caller: Caller, image_id: str, tag: str) -> None:
    """Take a tag off an image. Raises ``NotFound``, also when the image has no such tag, and ``Forbidden``."""

    def work(connection: Connection) -> Image:
        before = _locked(connection, service, caller, image_id)
        if tag not in before.tags:
            raise NotFound(f"Image {image_id} has no tag {tag[:64]}.")
        left = tuple(one for one in before.tags if one != tag)
        return image_records.save(connection, before, dataclasses.replace(before, tags=left))

    service.notifier.image("image.update", service.database.write(work), caller)


def _proven(
    service: Service, caller: Caller, image_id: str, choose: Callable[[Image], Sequence[Operation]]
) -> tuple[Image, tuple[str, ...]]:
    """Change an image; a signature that it gets is checked before, outside of the transaction."""
    proof: SignatureProof | None = None
    for _ in range(_ATTEMPTS):
        try:
            return service.database.write(
                lambda connection, proof=proof: _change(connection, service, caller, image_id, choose, proof)  # type: ignore[misc]
            )
        except SignatureUnproven as unproven:
            with service.slots.held(SlotKind.CHECK, caller.project):
                proof = signatures.prove(service, caller, unproven.before, unproven.after)
    raise Conflict(f"Image {image_id} was changed by somebody else; try again")


def _change(
    connection: Connection,
    service: Service,
    caller: Caller,
    image_id: str,
    choose: Callable[[Image], Sequence[Operation]],
    proof: SignatureProof | None,
) -> tuple[Image, tuple[str, ...]]:
    before = _locked(connection, service, caller, image_id)
    after = changed(service, caller, before, choose(before))
    signatures.require_proof(before, after, proof)
    warnings = properties.check_changed(service, connection, caller, before, after)
    return (image_records.save(connection, before, after) if after != before else before), warnings


def _locked(connection: Connection, service: Service, caller: Caller, image_id: str) -> Image:
    before = find_image(connection, service.policy, caller, image_id, lock=True)
    service.policy.require(caller, "modify_image", before)
    return before
