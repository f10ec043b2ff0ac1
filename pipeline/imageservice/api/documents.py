"""Render the catalog's records as the documents that clients see."""

from __future__ import annotations

from typing import Any

from pipeline.imageservice.lifecycle.records.view import ImageView
from pipeline.imageservice.model.images import Location, Member
from pipeline.imageservice.model.tasks import Task
from pipeline.imageservice.schema import times
from pipeline.imageservice.service import Service


def image_document(service: Service, view: ImageView) -> dict[str, Any]:
    """Return one image as its caller may see it."""
    image = view.image
    document: dict[str, Any] = {
        name: service.image_schema.absent(name) if value is None else value for name, value in view.properties.items()
    }
    document |= {f"os_glance_{name}": value for name, value in view.notes.items()}
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
    if view.stores and service.stores.several:
        document["stores"] = ",".join(view.stores)
    if service.settings.api.show_locations:
        document["locations"] = [location_document(location) for location in view.locations]
    if service.settings.api.show_direct_url and view.locations:
        document["direct_url"] = view.locations[0].url
    document |= {"tags": list(image.tags), "self": link, "file": f"{link}/file", "schema": "/v2/schemas/image"}
    return document


def location_document(location: Location) -> dict[str, Any]:
    """Return one location: its address and what is noted of it, the store's id above all."""
    return {"url": location.url, "metadata": location.described}


def member_document(member: Member) -> dict[str, Any]:
    """Return one membership."""
    return {
        "member_id": member.member,
        "image_id": member.image_id,
        "status": str(member.status),
        "created_at": times.written(member.created_at),
        "updated_at": times.written(member.updated_at),
        "schema": "/v2/schemas/member",
    }


def task_stub(task: Task) -> dict[str, Any]:
    """Return one task in a list: without what went in and came out."""
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
    """Return one task."""
    document = task_stub(task)
    document |= {"input": task.input, "result": task.result, "message": task.message or ""}
    if task.progress:
        document["progress"] = task.progress
    document |= {"image_id": task.image_id, "request_id": task.request_id}
    if task.user_id:
        document["user_id"] = task.user_id
    return document


def image_task_document(task: Task) -> dict[str, Any]:
    """Return one task among those of an image: another shape, and times with fractions (contract: image tasks)."""
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
