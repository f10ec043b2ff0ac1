"""Finish an import: in success, undone, or without its image. Whoever dies on the way is followed by another worker.

Everything here may be called again by the next worker: what was done already is found done.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from pipeline.imageservice.catalog import quotas
from pipeline.imageservice.catalog.images import locations, members, service_notes
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.images.objects import ObjectRecord, ObjectState
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.data.verdict import DataFacts
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.importing.job import glance
from pipeline.imageservice.importing.job.job import ImageGone, Job, activation
from pipeline.imageservice.importing.job.product import PreparedData
from pipeline.imageservice.lifecycle import deletion
from pipeline.imageservice.lifecycle.guards import objects
from pipeline.imageservice.lifecycle.transfer import recovery, staging
from pipeline.imageservice.lifecycle.transfer.upload_claim import NO_DATA
from pipeline.imageservice.model.images import Image, ImageStatus, Location, LocationState, now
from pipeline.imageservice.model.tasks import TaskStatus
from pipeline.imageservice.stores.base import IncompleteObject, Store

log = logging.getLogger("imageservice.import")


def succeed(job: Job, product: PreparedData, facts: DataFacts) -> Image:
    """End with success: everything is where it should be. ``facts`` are those of an image that becomes active by it."""

    def change(connection: Connection, before: Image) -> tuple[Image, list[ObjectRecord]]:
        staged = _staged(connection, job)
        _end(connection, job, TaskStatus.SUCCESS, result={"image_id": before.id})
        after = image_records.change(connection, before, **activation(job, before, product, facts))
        job.events.activate(connection, [store for store in job.stores if store not in job.failed])
        return after, staged

    image, staged = job.write(change)
    _drop_staged(job, staged)
    return image


def fail(job: Job, message: str, failed: Sequence[str]) -> None:
    """Undo what was done, and say why; ``failed`` stores are told as such."""
    job.state["failure"] = {"message": message, "failed": list(failed)}

    def undo(connection: Connection, before: Image) -> list[Location]:
        task_queue.renew(connection, job.task, job.service.leases.seconds, state=job.state, progress=job.progress)
        made = [location for location in before.locations if location.store in job.stores]
        for location in made:
            locations.change(connection, location, state=LocationState.DELETING)
        image_records.change(connection, before)
        return made

    try:
        for location in job.write(undo):
            _remove(job, location)
        _sweep_stores(job)
        staged = job.write(lambda connection, before: _close_failed(connection, job, before, message, failed))
    except ImageGone:
        abandon(job)
        return
    _drop_staged(job, staged)


def abandon(job: Job) -> None:
    """End without an image: it was deleted, and nothing of it stays."""
    _sweep_stores(job)

    def work(connection: Connection) -> list[ObjectRecord]:
        job.check(connection)
        staged = _staged(connection, job)
        _end(connection, job, TaskStatus.FAILURE, message="The image was deleted")
        return staged

    _drop_staged(job, job.service.database.write(work))


def clean_up(job: Job, *, keep: IncompleteObject | None = None) -> None:
    """Remove what this task's dead attempts left half-written, but for what this one goes on with."""
    for store in [*_known_stores(job), job.service.staging]:
        try:
            for left in store.incomplete():
                if left != keep and job.is_own(left.attempt) and left.attempt != job.attempt:
                    store.discard(left)
        except ServiceError as error:
            log.warning("store %s cannot be tidied up now: %s", store.id, error.message)


def _close_failed(
    connection: Connection, job: Job, before: Image, message: str, failed: Sequence[str]
) -> list[ObjectRecord]:
    staged = _staged(connection, job)
    _end(connection, job, TaskStatus.FAILURE, message=message)
    begun = [store for store in job.stores if store in job.steps]
    if job.made_image:
        image_records.change(connection, before, status=ImageStatus.DELETED, deleted_at=now(), **NO_DATA)
        members.remove_all(connection, before.id)
        job.events.failure(connection, begun, message)
        return staged
    service_notes.change_list(connection, before.id, service_notes.FAILED_IMPORT, add=failed)
    waits = before.status is job.status
    again = {"status": ImageStatus.QUEUED, **NO_DATA, **job.taken_over_before(before)}
    image_records.change(connection, before, **(again if waits else {}))
    job.events.failure(connection, begun, message)
    return staged


def _end(connection: Connection, job: Job, status: TaskStatus, **facts: Any) -> None:
    job.close_steps(status)
    task_queue.renew(connection, job.task, job.service.leases.seconds, progress=job.progress)
    hours = job.service.settings.api.tasks_hours
    task_queue.finish(connection, job.task, status, hours_to_live=hours, **facts)
    quotas.release(connection, job.image_id)
    service_notes.remove(connection, job.image_id, service_notes.IMPORT_TASK, only_if=job.task.id)
    if not job.request.is_copy:
        for note in (service_notes.STAGED, service_notes.STAGE_HOST):
            service_notes.remove(connection, job.image_id, note)
    if image_records.find(connection, job.image_id) is not None:
        service_notes.change_list(connection, job.image_id, service_notes.IMPORTING_TO_STORES, drop=job.stores)
        if not service_notes.change_list(connection, job.image_id, service_notes.CANCEL, drop=[job.task.id]):
            service_notes.remove(connection, job.image_id, service_notes.CANCEL)


def _remove(job: Job, location: Location) -> None:
    try:
        deletion.remove_data(job.service, location)
    except ServiceError as error:
        log.warning("image %s: its data in store %s stays for now: %s", job.image_id, location.store, error.message)


def _sweep_stores(job: Job) -> None:
    """Remove objects that were made to appear, but that the catalog does not know of: by the names this task had."""
    clean_up(job)
    for store in _known_stores(job):
        try:
            with job.service.database.read() as connection:
                found = objects.held(connection, job.service, store, job.image_id)
            attempts = {
                one.attempt for one in found if one.state is ObjectState.WRITING and job.is_own(one.attempt or "")
            }
            # Without any, an older version of the service may have written under the image's id.
            for attempt in attempts or {job.attempt}:
                recovery.remove_made(job.service, store, job.image_id, str(attempt))
        except ServiceError as error:
            log.warning("store %s cannot be tidied up now: %s", store.id, error.message)


def _known_stores(job: Job) -> list[Store]:
    return [job.service.stores[name] for name in job.stores if name in job.service.stores]


def _staged(connection: Connection, job: Job) -> list[ObjectRecord]:
    """Return what this import leaves: all that is in staging for it, and what it may have put into stores in vain."""
    found = objects.held(connection, job.service, job.service.staging, job.image_id)
    if job.request.is_copy:
        found = [one for one in found if job.is_own(one.attempt or "")]
    left = [one for one in found if one.state in (ObjectState.STAGED, ObjectState.WRITING)]
    for store in _known_stores(job):
        found = objects.held(connection, job.service, store, job.image_id)
        left += [one for one in found if one.state is ObjectState.WRITING and job.is_own(one.attempt or "")]
    return left


def _drop_staged(job: Job, found: Sequence[ObjectRecord]) -> None:
    """Remove what was left behind, by exactly its names, and the leave to fetch the data."""
    glance.forget(job.service, job.state.get("source", {}))
    staging.remove(job.service, found)
