"""Making data known that lies in a store already: attach its location, then find out its digests.

Attaching is one look at the store, so it happens within the request, where Compute waits for its snapshot. Reading
everything takes a worker: until then an image without digests to compare with is active without any, one that has
to be compared is ``importing``. A task tells of both, and its lock keeps imports away meanwhile. No worker takes the
task before the attaching is done, or should have been.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from pipeline.imageservice.api.image_locations import refuse_foreign, size_of, store_for
from pipeline.imageservice.catalog import images, locations, quotas, service_notes, tasks
from pipeline.imageservice.catalog.model import Image, ImageStatus
from pipeline.imageservice.catalog.tasks import Task, TaskStatus
from pipeline.imageservice.data.buffers import Buffers
from pipeline.imageservice.data.control import Control
from pipeline.imageservice.data.examine import examine
from pipeline.imageservice.data.sources import FromStore
from pipeline.imageservice.data.taps import Digest
from pipeline.imageservice.data.transfer import transfer
from pipeline.imageservice.errors import Conflict, Gone, Invalid, NotFound, ServiceError, Unavailable
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.store import Store

TYPE = "location_import"
LEASE_SECONDS = 60.0
_PAUSE = 2.0  # seconds between attempts to read what a store does not give


def attach(service: Service, task: Task) -> None:
    """Give the task's image its location. What goes wrong ends the task, and leaves the image queued."""
    try:
        url = _input(task)["loc_url"]
        store = store_for(service, url, {})
        size = size_of(store, url)
        with service.database.read() as connection:
            image = images.get(connection, _input(task)["image_id"])
        verdict = examine(service, store, url, size, image)
        facts = {"size": size, "virtual_size": verdict.virtual_size if verdict else None}
        after = service.database.write(lambda connection: _attach(connection, service, task, store, image, facts))
        if after.status is ImageStatus.ACTIVE:
            service.notifier.image("image.activate", after)
    except ServiceError as error:
        _give_up(service, task, error.message)
    _tell(service, task)


def _attach(
    connection: Connection, service: Service, task: Task, store: Store, seen: Image, facts: Mapping[str, Any]
) -> Image:
    given = _input(task)
    url, validation = given["loc_url"], given["validation_data"]
    before = images.lock(connection, given["image_id"])
    if before.version != seen.version:
        raise Conflict("The image was changed while its data was looked at; try again")
    if not before.has_formats:
        raise Invalid("Properties disk_format, container_format must be set prior to saving data.")
    refuse_foreign(connection, before, url, store)
    quotas.check_bytes(connection, before.owner, service.storage_quota, facts["size"])
    locations.add(connection, before.id, url, store=store.id)
    algorithm = validation.get("os_hash_algo", service.hash_algorithm)
    if not service.settings.api.secure_hash:
        value = validation.get("os_hash_value")
        algorithm = algorithm if value else None
        _end(connection, service, task, TaskStatus.SUCCESS, result={"image_id": before.id})
        return images.change(
            connection, before, status=ImageStatus.ACTIVE, hash_algo=algorithm, hash_value=value, **facts
        )
    status = ImageStatus.IMPORTING if validation else ImageStatus.ACTIVE
    tasks.put_back(connection, task, delay=0)
    return images.change(connection, before, status=status, hash_algo=algorithm, **facts)


def run(service: Service, task: Task, buffers: Buffers, control: Control) -> None:
    """What a worker does about a claimed task: read the data, compare or note its digests, end the task."""
    with service.database.read() as connection:
        image = images.find(connection, _input(task)["image_id"])
    if image is not None and image.status is ImageStatus.QUEUED:
        # The process that took the request died before it came to this.
        attach(service, task)
        return
    service.notifier.task("task.processing", task)
    _find_out(service, task, buffers, control)
    _tell(service, task)


def _find_out(service: Service, task: Task, buffers: Buffers, control: Control) -> None:
    attempts = service.settings.api.hash_attempts
    for attempt in range(1, attempts + 1):
        try:
            image, digests = _read(service, task, buffers, control)
            _settle(service, task, image, digests)
            return
        except (Gone, NotFound, Conflict) as error:
            _give_up(service, task, error.message)
            return
        except ServiceError as error:
            if attempt == attempts:
                _fail(service, task, f"the data could not be read: {error.message}")
                return
            control.wait(_PAUSE * attempt)


def _read(service: Service, task: Task, buffers: Buffers, control: Control) -> tuple[Image, dict[str, str]]:
    with service.database.read() as connection:
        image = images.get(connection, _input(task)["image_id"])
    if image.hash_algo is None or not image.readable_locations:
        raise Gone("The image has no location any more")
    place = image.readable_locations[0]
    store = service.stores[place.store] if place.store and place.store in service.stores else None
    if store is None:
        raise Unavailable("The location's store is not configured")
    taps = {name: Digest(name) for name in dict.fromkeys(("md5", image.hash_algo))}
    with store.reader(place.url) as reader:
        watch = _Watch(service, task, image)
        transfer(FromStore(reader), (), buffers, taps=tuple(taps.values()), control=control, progress=watch)
    return image, {name: tap.hexdigest() for name, tap in taps.items()}


def _settle(service: Service, task: Task, image: Image, digests: Mapping[str, str]) -> None:
    wanted = _input(task)["validation_data"].get("os_hash_value")
    value = digests[image.hash_algo or "md5"]
    if wanted is not None and value != wanted:
        _fail(service, task, f"The data's {image.hash_algo} is not the one that was given")
        return

    def work(connection: Connection) -> tuple[Image, Image]:
        tasks.check(connection, task)
        before = images.lock(connection, image.id)
        status = ImageStatus.ACTIVE if before.status is ImageStatus.IMPORTING else before.status
        _end(connection, service, task, TaskStatus.SUCCESS, result={"image_id": image.id})
        return before, images.change(connection, before, status=status, checksum=digests["md5"], hash_value=value)

    before, after = service.database.write(work)
    if before.status is not after.status:
        service.notifier.image("image.activate", after)


def _fail(service: Service, task: Task, message: str) -> None:
    """The digests are wrong or cannot be had: an image that waited for them goes back to queued."""

    def work(connection: Connection) -> None:
        image = images.find(connection, _input(task)["image_id"])
        if image is not None:
            before = images.lock(connection, image.id)
            if before.status is ImageStatus.IMPORTING:
                _detach(connection, before)
            elif before.hash_value is None:
                images.change(connection, before, hash_algo=None)
        _end(connection, service, task, TaskStatus.FAILURE, message=message)

    service.database.write(work)


def _detach(connection: Connection, before: Image) -> None:
    """Forget the location. The bytes stay where they are: that they are ours is just what was not shown."""
    for place in before.readable_locations:
        locations.remove(connection, place)
    images.change(
        connection,
        before,
        status=ImageStatus.QUEUED,
        size=None,
        virtual_size=None,
        checksum=None,
        hash_algo=None,
        hash_value=None,
    )


def _tell(service: Service, task: Task) -> None:
    """Let others know when it is over."""
    with service.database.read() as connection:
        service.notifier.ended(tasks.get(connection, task.id))


def _give_up(service: Service, task: Task, message: str) -> None:
    """End the task; its image is as it should be already, or gone."""
    service.database.write(lambda connection: _end(connection, service, task, TaskStatus.FAILURE, message=message))


def _end(connection: Connection, service: Service, task: Task, status: TaskStatus, **facts: Any) -> None:
    tasks.finish(connection, task, status, hours_to_live=service.settings.api.tasks_hours, **facts)
    image_id = _input(task)["image_id"]
    service_notes.remove(connection, image_id, service_notes.IMPORT_TASK, only_if=task.id)


def _input(task: Task) -> Mapping[str, Any]:
    return task.input or {}


class _Watch:
    """Keeps the task's lease while the data goes by, and ends the work when the image is deleted."""

    def __init__(self, service: Service, task: Task, image: Image) -> None:
        self._service, self._task, self._image = service, task, image
        self._next = time.monotonic() + 1

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """Look after the lease every few seconds."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 5

        def work(connection: Connection) -> None:
            images.get(connection, self._image.id)
            message = f"Hashed {done >> 20} MiB"
            tasks.renew(connection, self._task, LEASE_SECONDS, message=message, progress={"done": done, "total": total})

        self._service.database.write(work)

    def say(self, text: str) -> None:
        """Nothing is said of it."""
