"""How an import ends: in success, undone, or without its image. Whoever dies on the way is followed by another worker.

Everything here may be called again by the next worker: what was done already is found done.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from pipeline.imageservice import deletion
from pipeline.imageservice.catalog import images, locations, members, quotas, service_notes, tasks
from pipeline.imageservice.catalog.model import Image, ImageStatus, Location, LocationState, now
from pipeline.imageservice.catalog.tasks import TaskStatus
from pipeline.imageservice.data.judge import Facts
from pipeline.imageservice.data.receiving import NO_DATA
from pipeline.imageservice.data.staging import Staged
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.importing import glance
from pipeline.imageservice.importing.job import ImageGone, Job, activation
from pipeline.imageservice.importing.product import Product
from pipeline.imageservice.stores.errors import ObjectMissing
from pipeline.imageservice.stores.store import Incomplete, Store

log = logging.getLogger("imageservice.import")


def succeed(job: Job, product: Product, facts: Facts) -> Image:
    """Everything is where it should be. ``facts`` are those of an image that becomes active by it."""

    def change(connection: Connection, before: Image) -> Image:
        _end(connection, job, TaskStatus.SUCCESS, result={"image_id": before.id})
        return images.change(connection, before, **activation(job, before, product, facts))

    image = job.write(change)
    _drop_staged(job)
    return image


def fail(job: Job, message: str, failed: Sequence[str]) -> None:
    """Undo what was done, and say why; ``failed`` stores are told as such."""
    job.state["failure"] = {"message": message, "failed": list(failed)}

    def undo(connection: Connection, before: Image) -> list[Location]:
        tasks.renew(connection, job.task, job.service.leases.seconds, state=job.state, progress=job.progress)
        made = [place for place in before.locations if place.store in job.stores]
        for place in made:
            locations.change(connection, place, state=LocationState.DELETING)
        images.change(connection, before)
        return made

    try:
        for place in job.write(undo):
            _remove(job, place)
        _sweep_stores(job)
        job.write(lambda connection, before: _close_failed(connection, job, before, message, failed))
    except ImageGone:
        abandon(job)
        return
    _drop_staged(job)


def abandon(job: Job) -> None:
    """The image was deleted: nothing of it stays."""
    _sweep_stores(job)
    _drop_staged(job)

    def work(connection: Connection) -> None:
        job.check(connection)
        _end(connection, job, TaskStatus.FAILURE, message="The image was deleted")

    job.service.database.write(work)


def clean_up(job: Job, *, keep: Incomplete | None = None) -> None:
    """Remove what this task's dead attempts left half-written, but for what this one goes on with."""
    for store in [*_known_stores(job), job.service.staging]:
        try:
            for left in store.incomplete():
                if left != keep and job.is_own(left.attempt) and left.attempt != job.attempt:
                    store.discard(left)
        except ServiceError as error:
            log.warning("store %s cannot be tidied up now: %s", store.id, error.message)


def _close_failed(connection: Connection, job: Job, before: Image, message: str, failed: Sequence[str]) -> None:
    _end(connection, job, TaskStatus.FAILURE, message=message)
    if job.made_image:
        images.change(connection, before, status=ImageStatus.DELETED, deleted_at=now(), **NO_DATA)
        members.remove_all(connection, before.id)
        return
    service_notes.change_list(connection, before.id, service_notes.FAILED_IMPORT, add=failed)
    waits = before.status is job.status
    again = {"status": ImageStatus.QUEUED, **NO_DATA, **job.taken_over_before(before)}
    images.change(connection, before, **(again if waits else {}))


def _end(connection: Connection, job: Job, status: TaskStatus, **facts: Any) -> None:
    job.close_steps(status)
    tasks.renew(connection, job.task, job.service.leases.seconds, progress=job.progress)
    hours = job.service.settings.api.tasks_hours
    tasks.finish(connection, job.task, status, hours_to_live=hours, **facts)
    quotas.release(connection, job.image_id)
    service_notes.remove(connection, job.image_id, service_notes.IMPORT_TASK, only_if=job.task.id)
    if not job.request.is_copy:
        for note in (service_notes.STAGED, service_notes.STAGE_HOST):
            service_notes.remove(connection, job.image_id, note)
    if images.find(connection, job.image_id) is not None:
        service_notes.change_list(connection, job.image_id, service_notes.IMPORTING_TO_STORES, drop=job.stores)
        if not service_notes.change_list(connection, job.image_id, service_notes.CANCEL, drop=[job.task.id]):
            service_notes.remove(connection, job.image_id, service_notes.CANCEL)


def _remove(job: Job, place: Location) -> None:
    try:
        deletion.remove_data(job.service, place)
    except ServiceError as error:
        log.warning("image %s: its data in store %s stays for now: %s", job.image_id, place.store, error.message)


def _sweep_stores(job: Job) -> None:
    """Remove objects that were made to appear, but that the catalog does not know of."""
    clean_up(job)
    for store in _known_stores(job):
        try:
            there = store.find(job.image_id)
            if there is None:
                continue
            with job.service.database.read() as connection:
                known = locations.with_url(connection, there.uri)
            if not known:
                store.delete(there.uri)
        except ObjectMissing:
            continue
        except ServiceError as error:
            log.warning("store %s cannot be tidied up now: %s", store.id, error.message)


def _known_stores(job: Job) -> list[Store]:
    return [job.service.stores[name] for name in job.stores if name in job.service.stores]


def _drop_staged(job: Job) -> None:
    """Remove what was staged for this import, and the leave to fetch it."""
    glance.forget(job.service, job.state.get("source", {}))
    staged = job.state.get("staged")
    names = {Staged(**staged).name} if staged else set()
    if not job.request.is_copy:
        names |= {job.image_id, f"{job.image_id}.converted", f"{job.image_id}.plain"}
    for name in names:
        try:
            found = job.service.staging.find(name)
            if found is not None:
                job.service.staging.delete(found.uri)
        except ObjectMissing:
            continue
        except ServiceError as error:
            log.warning("staged data of image %s stays for now: %s", job.image_id, error.message)
