"""Submit an import: everything that can be refused is refused here; what remains is a task for a worker.

The answer comes at once. From then on the image says truthfully what is going on: its status, the stores its data is on
the way to, and those that failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog import quotas
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.images import service_notes
from pipeline.imageservice.catalog.quotas import QuotaResource
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.errors import Conflict, Invalid, ServiceError
from pipeline.imageservice.importing.job import glance, request_fetch
from pipeline.imageservice.importing.job.request import TYPE, ImportRequest
from pipeline.imageservice.lifecycle.guards import signatures
from pipeline.imageservice.lifecycle.records.visibility import find_image
from pipeline.imageservice.model.images import Image, ImageStatus
from pipeline.imageservice.model.tasks import Task
from pipeline.imageservice.service import Service

_STATUS = {"glance-direct": ImageStatus.UPLOADING, "copy-image": ImageStatus.ACTIVE}


@dataclass(frozen=True)
class ImportSubmission:
    """An import as it was asked for: the request's body, and the store its header named."""

    body: Mapping[str, Any]
    header: str | None
    request_id: str


def submit(service: Service, caller: Caller, image_id: str, asked: ImportSubmission) -> Task | None:
    """Begin an import; ``None`` when a copy to all stores finds that they all have the image.

    Raises the service's errors, in the order in which clients know them.
    """
    request = ImportRequest.parse(asked.body, service.import_methods)
    with service.database.read() as connection:
        quotas.check(connection, caller.project, service.limits.of(caller.project), {QuotaResource.SIZE: 0})
        image = find_image(connection, service.policy, caller, image_id)
        stores = _checked(service, caller, image, request, asked.header)
    if stores is not None and not stores:
        return None
    if request.method == "web-download":
        if not request.uri:
            raise Invalid("'uri' is required for web-download: URI for web-download does not pass filtering")
        service.ssrf_filter.check(request.uri, resolve=service.settings.imports.download.proxy is None)
    state = _state(service, caller, image, request)
    own = bool(state.get("source", {}).get("endpoint")) and not state["source"]["trust"]

    def begin(connection: Connection) -> Task:
        before = find_image(connection, service.policy, caller, image_id, lock=True)
        stores = _checked(service, caller, before, request, asked.header) or []
        task = _begin(connection, service, caller, before, request, stores, asked, state)
        return request_fetch.claim(connection, service, task) if own else task

    try:
        task = service.database.write(begin)
    except ServiceError:
        glance.forget(service, state.get("source", {}))
        raise
    service.notifier.task("task.create", task, caller)
    if own:
        request_fetch.start(service, task, caller.token or "")
    return task


def _checked(service: Service, caller: Caller, image: Image, request: ImportRequest, header: str | None) -> list[str]:
    """Return the stores to fill, once nothing speaks against the import."""
    _check_status(image, request)
    if not image.has_formats:
        missing = "container_format" if not image.container_format else "disk_format"
        raise Conflict(f"'{missing}' needs to be set before import")
    request.require_source()
    service.policy.require(caller, "copy_image" if request.is_copy else "modify_image", image)
    stores = _chosen_stores(service, image, request, header)
    _check_lock(image, request, stores)
    return stores


def _check_status(image: Image, request: ImportRequest) -> None:
    expected = _STATUS.get(request.method, ImageStatus.QUEUED)
    if image.status is not expected:
        raise Conflict(f"Image needs to be in {expected!s} state to use {request.method}, it is {image.status!s}")


def _check_lock(image: Image, request: ImportRequest, stores: Sequence[str]) -> None:
    """Refuse a second import of an image; copies to different stores do not stand in each other's way."""
    under_way = set(filter(None, image.service.get(service_notes.IMPORTING_TO_STORES, "").split(",")))
    locked = service_notes.IMPORT_TASK in image.service
    if under_way & set(stores) or (locked and not (request.is_copy and under_way)):
        raise Conflict("Image has active task")


def _chosen_stores(service: Service, image: Image, request: ImportRequest, header: str | None) -> list[str]:
    if not service.stores.several:
        return [service.stores.default.id]
    named = list(request.stores or ())
    if request.all_stores and (named or header):
        raise Invalid("All_stores parameter can't be used with x-image-meta-store header or stores parameter")
    if named and header and named != [header]:
        raise Invalid("Stores parameter and x-image-meta-store header can't be both specified")
    if request.all_stores:
        named = [store.id for store in service.stores.writable]
    stores = named or [header or service.stores.default.id]
    for identifier in stores:
        if identifier not in service.stores or not service.stores[identifier].capabilities.writable:
            raise Conflict(f"Store for identifier {identifier[:64]} not found")
    if not request.is_copy:
        return stores
    there = {location.store for location in image.readable_locations}
    held = [store for store in stores if store in there]
    if held and not request.all_stores:
        raise Invalid(f"Image is already present at store '{held[0]}'")
    return [store for store in stores if store not in there]


def _state(service: Service, caller: Caller, image: Image, request: ImportRequest) -> dict[str, Any]:
    """Return what the work needs of the caller, who will not be there any more. A token is never kept."""
    state: dict[str, Any] = {"project": caller.project, "user": caller.user, "roles": sorted(caller.roles)}
    if not request.is_copy:
        verifier = signatures.verifier_of(service, caller, image)
        if request.method == "glance-download":
            state["source"] = glance.source_state(service, caller, request)
        state |= signatures.as_note(verifier)
    return state


def _begin(
    connection: Connection,
    service: Service,
    caller: Caller,
    before: Image,
    request: ImportRequest,
    stores: Sequence[str],
    asked: ImportSubmission,
    state: Mapping[str, Any],
) -> Task:
    node = before.service.get(service_notes.STAGE_HOST) if request.method == "glance-direct" else None
    task = task_queue.create(
        connection,
        TYPE,
        owner=caller.project,
        input_={"image_id": before.id, "import_req": dict(asked.body), "backend": list(stores)},
        image_id=before.id,
        user_id=caller.user,
        request_id=asked.request_id,
        node=node,
        state=state,
    )
    service_notes.put_if_absent(connection, before.id, service_notes.IMPORT_TASK, task.id)
    service_notes.change_list(connection, before.id, service_notes.IMPORTING_TO_STORES, add=stores)
    service_notes.change_list(connection, before.id, service_notes.FAILED_IMPORT, drop=stores)
    image_records.change(connection, before, status=before.status if request.is_copy else ImageStatus.IMPORTING)
    return task
