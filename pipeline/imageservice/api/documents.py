"""The catalog's records as the documents that clients see."""

from __future__ import annotations

from typing import Any

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api import times
from pipeline.imageservice.catalog import service_notes
from pipeline.imageservice.catalog.model import Image, ImageStatus, Location, Member
from pipeline.imageservice.catalog.tasks import Task
from pipeline.imageservice.service import Service


def image_document(service: Service, caller: Caller, image: Image) -> dict[str, Any]:
    """One image as ``caller`` may see it: protected properties and, without leave, locations are left out."""
    properties = {name: value or "" for name, value in image.properties.items()}
    document: dict[str, Any] = service.protections.readable(caller, properties)
    for name, value in image.service.items():
        if name not in service_notes.HIDDEN:
            document[f"os_glance_{name}"] = value
    places = _visible_locations(service, caller, image)
    link = f"/v2/images/{image.id}"
    document |= {
        "name": image.name,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "visibility": str(image.visibility),
        "size": image.size,
        "virtual_size": image.virtual_size,
        "status": str(image.status),
        "checksum": image.checksum,
        "protected": image.protected,
        "min_ram": image.min_ram,
        "min_disk": image.min_disk,
        "owner": image.owner,
        "os_hidden": image.hidden,
        "os_hash_algo": image.hash_algo,
        "os_hash_value": image.hash_value,
        "id": image.id,
        "created_at": times.written(image.created_at),
        "updated_at": times.written(image.updated_at),
    }
    if places and service.stores.several:
        named = [place.store for place in places if place.store]
        if named:
            document["stores"] = ",".join(dict.fromkeys(named))
    if service.settings.api.show_locations:
        document["locations"] = [location_document(place) for place in places]
    if service.settings.api.show_direct_url and places:
        document["direct_url"] = places[0].url
    document |= {"tags": list(image.tags), "self": link, "file": f"{link}/file", "schema": "/v2/schemas/image"}
    return document


def location_document(place: Location) -> dict[str, Any]:
    """One location: its address and what is noted of it, the store's id above all."""
    store = {"store": place.store} if place.store else {}
    return {"url": place.url, "metadata": {**place.metadata, **store}}


def member_document(member: Member) -> dict[str, Any]:
    """One membership."""
    return {
        "member_id": member.member,
        "image_id": member.image_id,
        "status": str(member.status),
        "created_at": times.written(member.created_at),
        "updated_at": times.written(member.updated_at),
        "schema": "/v2/schemas/member",
    }


def task_stub(task: Task) -> dict[str, Any]:
    """One task in a list: without what went in and came out."""
    document: dict[str, Any] = {
        "id": task.id,
        "type": task.type,
        "status": str(task.status),
        "owner": task.owner,
        "created_at": times.written(task.created_at),
        "updated_at": times.written(task.updated_at),
        "self": f"/v2/tasks/{task.id}",
        "schema": "/v2/schemas/task",
    }
    if task.expires_at is not None and task.status.is_over:
        document["expires_at"] = times.written(task.expires_at)
    return document


def task_document(task: Task) -> dict[str, Any]:
    """One task."""
    document = task_stub(task)
    document |= {"input": task.input, "result": task.result, "message": task.message or ""}
    if task.progress:
        document["progress"] = task.progress
    document |= {"image_id": task.image_id, "request_id": task.request_id}
    if task.user_id:
        document["user_id"] = task.user_id
    return document


def image_task_document(task: Task) -> dict[str, Any]:
    """One task among those of an image: another shape, and times with fractions (contract: image tasks)."""
    return {
        "id": task.id,
        "type": task.type,
        "status": str(task.status),
        "owner": task.owner,
        "image_id": task.image_id,
        "request_id": task.request_id,
        "user_id": task.user_id,
        "input": task.input,
        "result": task.result,
        "message": task.message or "",
        **({"progress": task.progress} if task.progress else {}),
        "created_at": times.written_exactly(task.created_at),
        "updated_at": times.written_exactly(task.updated_at),
        "expires_at": times.written_exactly(task.expires_at) if task.expires_at is not None else None,
        "deleted": task.deleted_at is not None,
        "deleted_at": times.written_exactly(task.deleted_at) if task.deleted_at is not None else None,
    }


def by_weight(service: Service, places: tuple[Location, ...]) -> list[Location]:
    """Locations in the order they are shown and tried: heaviest store first, then by the store's id."""
    weights = {store.id: store.weight for store in service.stores}
    return sorted(places, key=lambda place: (-weights.get(place.store or "", 0), place.store or ""))


def _visible_locations(service: Service, caller: Caller, image: Image) -> list[Location]:
    places = image.readable_locations
    if not places or (image.status is ImageStatus.DEACTIVATED and not caller.is_admin):
        return []
    if not service.policy.may(caller, "get_image_location", image):
        return []
    return by_weight(service, places)
