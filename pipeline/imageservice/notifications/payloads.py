"""Render what events carry (contract: notifications)."""

from __future__ import annotations

from typing import Any

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.images import service_notes
from pipeline.imageservice.model.images import Image, ImageStatus, Member
from pipeline.imageservice.model.tasks import Task
from pipeline.imageservice.schema import times

_STORE_LISTS = (service_notes.IMPORTING_TO_STORES, service_notes.FAILED_IMPORT)


def image_payload(image: Image) -> dict[str, Any]:
    """Describe an image, without its locations."""
    payload = {
        "id": image.id,
        "name": image.name,
        "status": str(image.status),
        "created_at": times.written(image.created_at),
        "updated_at": times.written(image.updated_at),
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "protected": image.protected,
        "checksum": image.checksum,
        "owner": image.owner,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "size": image.size,
        "virtual_size": image.virtual_size,
        "tags": list(image.tags),
        "visibility": str(image.visibility),
        "os_hidden": image.hidden,
        "os_hash_algo": image.hash_algo,
        "os_hash_value": image.hash_value,
        "properties": dict(image.properties),
        "deleted": image.status is ImageStatus.DELETED,
        "deleted_at": times.written(image.deleted_at) if image.deleted_at else None,
    }
    return payload | {f"os_glance_{name}": _list(image, name) for name in _STORE_LISTS if name in image.service}


def import_payload(image: Image, task_id: str, store: str) -> dict[str, Any]:
    """Describe an image that is being imported: by which task, and into which store an event tells of.

    Those three and the event's type and level tell an event from every other one, however often it is received.
    """
    lists = {f"os_glance_{name}": _list(image, name) for name in _STORE_LISTS}
    return {**image_payload(image), **lists, "os_glance_import_task": task_id, "backend": store}


def _list(image: Image, name: str) -> list[str]:
    return [store for store in image.service.get(name, "").split(",") if store]


def send_payload(image: Image, caller: Caller, sent: int) -> dict[str, Any]:
    """Describe a download: how many bytes went to whom."""
    return {
        "bytes_sent": sent,
        "image_id": image.id,
        "owner_id": image.owner,
        "receiver_tenant_id": caller.project,
        "receiver_user_id": caller.user,
    }


def member_payload(member: Member, deleted: bool) -> dict[str, Any]:
    """Describe a membership."""
    return {
        "image_id": member.image_id,
        "member_id": member.member,
        "status": str(member.status),
        "created_at": times.written(member.created_at),
        "updated_at": times.written(member.updated_at),
        "deleted": deleted,
    }


def task_payload(task: Task) -> dict[str, Any]:
    """Describe a task, without what went in: that may name locations."""
    return {
        "id": task.id,
        "type": task.type,
        "status": str(task.status),
        "result": task.result,
        "owner": task.owner,
        "message": task.message,
        "image_id": task.image_id,
        "request_id": task.request_id,
        "created_at": times.written(task.created_at),
        "updated_at": times.written(task.updated_at),
        "expires_at": times.written(task.expires_at) if task.expires_at else None,
        "deleted": task.deleted_at is not None,
    }
