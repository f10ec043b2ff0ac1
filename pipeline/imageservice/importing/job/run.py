"""Run an import that was claimed: from its task to its end, whatever happens on the way."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection

from pipeline.base.errors import PipelineError
from pipeline.imageservice.cancellation.active_transfers import Stopping
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog import quotas
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.quotas import MEBIBYTE, QuotaResource
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.errors import Conflict, ServiceError
from pipeline.imageservice.importing.job import finish
from pipeline.imageservice.importing.job.fetch import left_behind
from pipeline.imageservice.importing.job.job import Cancelled, ImageGone, Job, LeaseLost
from pipeline.imageservice.importing.job.prepare import prepared, staged
from pipeline.imageservice.importing.job.write_stores import StoresFailed, fill
from pipeline.imageservice.lifecycle.guards.properties import warn_of_changed
from pipeline.imageservice.model.images import Image, ImageStatus
from pipeline.imageservice.model.tasks import Task
from pipeline.imageservice.service import Service

log = logging.getLogger("imageservice.import")


def run_import(service: Service, task: Task, cancel_token: CancelToken) -> None:
    """Do the import behind a claimed task: to its end, or as far as another worker has to go on."""
    service.notifier.task("task.processing", task)
    _do(Job(service, task, cancel_token), _run)


def run_fetch(service: Service, task: Task, cancel_token: CancelToken, token: str) -> None:
    """Only bring the data of a claimed task's import into staging, with a caller's token; a worker does the rest."""
    _do(Job(service, task, cancel_token, token), _fetch)


def _do(job: Job, work: Callable[[Job], None]) -> None:
    job.events.send()  # what a worker before this one left
    with job.service.leases.kept(job.renew, job.cancel_token):
        try:
            work(job)
        except LeaseLost as lost:
            log.warning("import of image %s: %s", job.image_id, lost.message)
        except ImageGone:
            _unless_lost(job, partial(finish.abandon, job))
        except Stopping:
            _unless_lost(job, partial(_give_back, job))
        except Cancelled as cancelled:
            _unless_lost(job, partial(finish.fail, job, cancelled.message, job.stores))
        except StoresFailed as failed:
            _unless_lost(job, partial(finish.fail, job, failed.message, failed.stores))
        except PipelineError as error:
            detail = error.detail if isinstance(error, ServiceError) else None
            log.info("import of image %s failed: %s %s", job.image_id, error.message, detail or "")
            message = f"{error.message} ({error.hint})" if error.hint else error.message
            _unless_lost(job, partial(finish.fail, job, message, job.stores))
        except Exception:
            log.exception("import of image %s failed", job.image_id)
            message = f"An error inside the service; its log has the cause (request {job.task.request_id})"
            _unless_lost(job, partial(finish.fail, job, message, job.stores))
    with job.service.database.read() as connection:
        job.service.notifier.ended(task_queue.get(connection, job.task.id))


def _unless_lost(job: Job, end: Callable[[], None]) -> None:
    try:
        end()
    except LeaseLost as lost:
        log.warning("import of image %s: %s", job.image_id, lost.message)
    except ServiceError as error:
        # The lease will end, and another worker goes on with the clean-up.
        log.warning("import of image %s could not be closed: %s", job.image_id, error.message)


def _run(job: Job) -> None:
    failure = job.state.get("failure")
    if failure is not None:
        finish.fail(job, failure["message"], failure["failed"])
        return
    if job.task.attempt > 1:
        finish.clean_up(job, keep=left_behind(job))
    if job.task.attempt > job.service.settings.imports.worker_attempts:
        raise ServiceError(f"The import was given up: {job.task.attempt - 1} workers ended while they were at it")
    _start(job)
    with prepared(job) as product:
        facts = fill(job, product)
    finish.succeed(job, product, facts)


def _fetch(job: Job) -> None:
    _start(job)
    staged(job)
    _give_back(job, node=job.service.node)


def _start(job: Job) -> None:
    job.write(lambda connection, before: _begin(connection, job, before))
    job.remember(begun=True)


def _begin(connection: Connection, job: Job, before: Image) -> None:
    """Do what comes first, once: the project's limits, and the properties that every imported image gets."""
    job.require_not_cancelled(before)
    if job.state.get("begun"):
        return
    service, request = job.service, job.request
    project = job.state.get("project")
    limits = service.limits.of(project)
    size = before.size or 0
    if request.is_copy:
        deltas = {QuotaResource.STAGE: size // MEBIBYTE, QuotaResource.UPLOADING: 0}
        stored = size * len(job.stores)
    elif request.method == "glance-direct":
        deltas = {QuotaResource.SIZE: size // MEBIBYTE}
        stored = size * len(job.stores)
    else:
        deltas, stored = {QuotaResource.UPLOADING: 0}, 0  # more when it is known how much there is
    quotas.check(connection, project, limits, deltas)
    quotas.check_bytes(connection, before.owner, service.storage_quota, stored)
    quotas.reserve(connection, before.owner, before.id, stored=stored)
    injected = _injected(job, before)
    if injected:
        after = dataclasses.replace(before, properties={**before.properties, **injected})
        warn_of_changed(service, connection, before, after)
        image_records.change(connection, before, properties=after.properties)


def _injected(job: Job, image: Image) -> dict[str, str]:
    options = job.service.settings.imports.injection
    if not job.service.settings.imports.does("inject_image_metadata") or image.status is not ImageStatus.IMPORTING:
        return {}
    if {role.lower() for role in options.ignore_roles} & set(job.state.get("roles", ())):
        return {}
    return {name: value for name, value in options.properties.items() if not name.startswith("os_glance")}


def _give_back(job: Job, node: str | None = None) -> None:
    """Another worker goes on at once: one of ``node``, where only that has the data."""

    def work(connection: Connection) -> None:
        try:
            task_queue.put_back(connection, job.task, delay=0, message=job.message, node=node or job.task.node)
        except Conflict as error:
            raise LeaseLost(error.message) from None

    job.service.database.write(work)
