"""Make data known that lies in a store already: attach its location, then find out its digests.

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

from pipeline.base.retry import RetryPolicy
from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog import quotas
from pipeline.imageservice.catalog.images import locations, service_notes
from pipeline.imageservice.catalog.images import objects as stored
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.data.buffers import Buffers
from pipeline.imageservice.data.slots.slots import SlotKind
from pipeline.imageservice.data.sources import FromStore
from pipeline.imageservice.data.taps import DigestTap
from pipeline.imageservice.data.transfer import transfer
from pipeline.imageservice.data.verdict import check_signature
from pipeline.imageservice.errors import Conflict, Forbidden, Gone, Invalid, NotFound, ServiceError, Unavailable
from pipeline.imageservice.lifecycle.guards import objects, signatures
from pipeline.imageservice.lifecycle.locations.copies import size_of, store_for
from pipeline.imageservice.lifecycle.locations.inspect import inspect_location
from pipeline.imageservice.lifecycle.records.visibility import find_image
from pipeline.imageservice.model.images import Image, ImageStatus
from pipeline.imageservice.model.tasks import Task, TaskStatus
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.base import Store
from pipeline.signing.image_signature import Verifier

TYPE = "location_import"
LEASE_SECONDS = 60.0
_PAUSE = 2.0  # seconds between attempts to read what a store does not give


def add(
    service: Service, caller: Caller, image_id: str, url: str, validation: Mapping[str, str], request_id: str
) -> Task:
    """Give a queued image its first location, and begin the task that finds out the digests; returns that task.

    ``validation``: ``os_hash_algo`` and ``os_hash_value``, or nothing. Raises ``NotFound``, ``Conflict``,
    ``Forbidden``, ``Invalid``; what is wrong with the data itself is said by the task.
    """
    with service.database.read() as connection:
        seen = _allowed(connection, service, caller, image_id, url, lock=False)
    if _on_the_web(url):
        service.ssrf_filter.check(url, what="add location")
    # Whoever reads the data later has not got the caller's rights.
    note = signatures.as_note(signatures.verifier_of(service, caller, seen))

    def begin(connection: Connection) -> Task:
        image = _allowed(connection, service, caller, image_id, url, lock=True)
        task = task_queue.create(
            connection,
            TYPE,
            owner=image.owner,
            input_={"image_id": image.id, "loc_url": url, "validation_data": dict(validation)},
            image_id=image.id,
            user_id=caller.user,
            request_id=request_id,
            state=note or None,
            delay=LEASE_SECONDS,
        )
        if not service_notes.put_if_absent(connection, image.id, service_notes.IMPORT_TASK, task.id):
            raise Conflict("Image has active task")
        return task

    task = service.database.write(begin)
    service.notifier.task("task.create", task, caller)
    with service.slots.held(SlotKind.CHECK, caller.project):
        attach(service, task)
    return task


def _allowed(connection: Connection, service: Service, caller: Caller, image_id: str, url: str, *, lock: bool) -> Image:
    image = find_image(connection, service.policy, caller, image_id, lock=lock)
    if image.status is not ImageStatus.QUEUED:
        raise Conflict(f"Image {image_id} is {image.status}; a location can be added to a queued image only.")
    service.policy.require(caller, "add_image_location", image)
    # Users may point at the web; what lies inside the cloud's stores is for its services to say.
    open_to_users = _on_the_web(url) and any(store.type == "http" for store in service.stores)
    if not open_to_users and "service" not in caller.roles | caller.service_roles:
        raise Forbidden("Only services of the cloud may add locations other than http(s) ones in an http store.")
    return image


def _on_the_web(url: str) -> bool:
    return url.partition(":")[0].lower() in ("http", "https")


def attach(service: Service, task: Task) -> None:
    """Give the task's image its location. What goes wrong ends the task, and leaves the image queued."""
    try:
        url = _input(task)["loc_url"]
        store = store_for(service, url, {})
        identity = objects.look_at(service, store, url)
        size = size_of(store, url)
        with service.database.read() as connection:
            image = image_records.get(connection, _input(task)["image_id"])
        verdict = inspect_location(service, store, url, size, image)
        facts = {"size": size, "virtual_size": verdict.virtual_size if verdict else None}
        after = service.database.write(
            lambda connection: _attach(connection, service, task, store, identity, image, facts)
        )
        if after.status is ImageStatus.ACTIVE:
            service.notifier.image("image.activate", after)
    except ServiceError as error:
        _give_up(service, task, error.message)
    _announce(service, task)


def _attach(
    connection: Connection,
    service: Service,
    task: Task,
    store: Store,
    identity: str | None,
    seen: Image,
    facts: Mapping[str, Any],
) -> Image:
    given = _input(task)
    url, validation = given["loc_url"], given["validation_data"]
    before = image_records.lock(connection, given["image_id"])
    if before.version != seen.version:
        raise Conflict("The image was changed while its data was looked at; try again")
    if not before.has_formats:
        raise Invalid("Properties disk_format, container_format must be set prior to saving data.")
    key = objects.take(connection, before, store, url, identity)
    quotas.check_bytes(connection, before.owner, service.storage_quota, facts["size"])
    locations.add(connection, before.id, url, store=store.id, identity=key)
    algorithm = validation.get("os_hash_algo", service.hash_algorithm)
    signed = signatures.verifier_from(task.state or {}, before) is not None
    if not service.settings.api.secure_hash and not signed:
        value = validation.get("os_hash_value")
        algorithm = algorithm if value else None
        _end(connection, service, task, TaskStatus.SUCCESS, result={"image_id": before.id})
        return image_records.change(
            connection, before, status=ImageStatus.ACTIVE, hash_algo=algorithm, hash_value=value, **facts
        )
    status = ImageStatus.IMPORTING if validation or signed else ImageStatus.ACTIVE
    task_queue.put_back(connection, task, delay=0)
    return image_records.change(connection, before, status=status, hash_algo=algorithm, **facts)


def run(service: Service, task: Task, buffers: Buffers, cancel_token: CancelToken) -> None:
    """Work on a claimed task: read the data, compare or note its digests, end the task."""
    with service.database.read() as connection:
        image = image_records.find(connection, _input(task)["image_id"])
    if image is not None and image.status is ImageStatus.QUEUED:
        # The process that took the request died before it came to this.
        attach(service, task)
        return
    service.notifier.task("task.processing", task)
    _inspect(service, task, buffers, cancel_token)
    _announce(service, task)


def _inspect(service: Service, task: Task, buffers: Buffers, cancel_token: CancelToken) -> None:
    retries = RetryPolicy(attempts=service.settings.api.hash_attempts, first=_PAUSE)
    for attempt in range(1, retries.attempts + 1):
        try:
            image, digests = _read(service, task, buffers, cancel_token)
            _settle(service, task, image, digests)
            return
        except Invalid as error:
            _fail(service, task, error.message)
            return
        except (Gone, NotFound, Conflict) as error:
            _give_up(service, task, error.message)
            return
        except ServiceError as error:
            if attempt == retries.attempts:
                _fail(service, task, f"the data could not be read: {error.message}")
                return
            cancel_token.wait(retries.pause(attempt + 1))


def _read(service: Service, task: Task, buffers: Buffers, cancel_token: CancelToken) -> tuple[Image, dict[str, str]]:
    with service.database.read() as connection:
        image = image_records.get(connection, _input(task)["image_id"])
    if image.hash_algo is None or not image.readable_locations:
        raise Gone("The image has no location any more")
    location = image.readable_locations[0]
    store = service.stores[location.store] if location.store and location.store in service.stores else None
    if store is None:
        raise Unavailable("The location's store is not configured")
    verifier = _verifier(task, image)
    algorithms = ["md5", image.hash_algo, *([verifier.algorithm] if verifier is not None else [])]
    taps = {name: DigestTap(name) for name in dict.fromkeys(algorithms)}
    with store.reader(location.url) as reader:
        watch = _InspectionWatch(service, task, image)
        transfer(FromStore(reader), (), buffers, taps=tuple(taps.values()), cancel_token=cancel_token, progress=watch)
    return image, {name: tap.hexdigest() for name, tap in taps.items()}


def _verifier(task: Task, image: Image) -> Verifier | None:
    """Return what checks the signature of an image that waits for that; one that is active has been seen to already."""
    waits = image.status is ImageStatus.IMPORTING
    return signatures.verifier_from(task.state or {}, image) if waits else None


def _settle(service: Service, task: Task, image: Image, digests: Mapping[str, str]) -> None:
    expected = _input(task)["validation_data"].get("os_hash_value")
    value = digests[image.hash_algo or "md5"]
    if expected is not None and value != expected:
        _fail(service, task, f"The data's {image.hash_algo} is not the one that was given")
        return
    verifier = _verifier(task, image)
    if verifier is not None:
        check_signature(verifier, digests[verifier.algorithm])

    def work(connection: Connection) -> tuple[Image, Image]:
        task_queue.check(connection, task)
        before = image_records.lock(connection, image.id)
        if before.status is ImageStatus.IMPORTING:
            signatures.require_same(image, before)
        status = ImageStatus.ACTIVE if before.status is ImageStatus.IMPORTING else before.status
        _end(connection, service, task, TaskStatus.SUCCESS, result={"image_id": image.id})
        return before, image_records.change(
            connection, before, status=status, checksum=digests["md5"], hash_value=value
        )

    before, after = service.database.write(work)
    if before.status is not after.status:
        service.notifier.image("image.activate", after)


def _fail(service: Service, task: Task, message: str) -> None:
    """Note that the digests are wrong or cannot be had: an image that waited for them goes back to queued."""

    def work(connection: Connection) -> None:
        image = image_records.find(connection, _input(task)["image_id"])
        if image is not None:
            before = image_records.lock(connection, image.id)
            if before.status is ImageStatus.IMPORTING:
                _detach(connection, before)
            elif before.hash_value is None:
                image_records.change(connection, before, hash_algo=None)
        _end(connection, service, task, TaskStatus.FAILURE, message=message)

    service.database.write(work)


def _detach(connection: Connection, before: Image) -> None:
    """Forget the location. The bytes stay where they are: that they are ours is just what was not shown.

    Clients of the protocol still see the name of a store that cannot delete, until the image gets data.
    """
    stored.disown(connection, before.readable_locations)
    for location in before.readable_locations:
        if location.store and location.identity == stored.NOBODYS:
            service_notes.put(connection, before.id, service_notes.REFUSED_STORE, location.store)
    image_records.change(
        connection,
        before,
        status=ImageStatus.QUEUED,
        size=None,
        virtual_size=None,
        checksum=None,
        hash_algo=None,
        hash_value=None,
    )


def _announce(service: Service, task: Task) -> None:
    """Let others know when it is over."""
    with service.database.read() as connection:
        service.notifier.ended(task_queue.get(connection, task.id))


def _give_up(service: Service, task: Task, message: str) -> None:
    """End the task; its image is as it should be already, or gone."""
    service.database.write(lambda connection: _end(connection, service, task, TaskStatus.FAILURE, message=message))


def _end(connection: Connection, service: Service, task: Task, status: TaskStatus, **facts: Any) -> None:
    task_queue.finish(connection, task, status, hours_to_live=service.settings.api.tasks_hours, **facts)
    image_id = _input(task)["image_id"]
    service_notes.remove(connection, image_id, service_notes.IMPORT_TASK, only_if=task.id)


def _input(task: Task) -> Mapping[str, Any]:
    return task.input or {}


class _InspectionWatch:
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
            image_records.get(connection, self._image.id)
            message = f"Hashed {done >> 20} MiB"
            task_queue.renew(
                connection, self._task, LEASE_SECONDS, message=message, progress={"done": done, "total": total}
            )

        self._service.database.write(work)

    def say(self, text: str) -> None:
        """Nothing is said of it."""
