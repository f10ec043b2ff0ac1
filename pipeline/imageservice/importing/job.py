"""One import under way: what it has done so far, written down so that another worker can go on or undo it.

Every write to the catalog first makes sure that the task is still this worker's, in the same transaction.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from pipeline.imageservice import deletion
from pipeline.imageservice.catalog import images, locations, quotas, service_notes, tasks
from pipeline.imageservice.catalog.model import Image, ImageStatus, Location, LocationState
from pipeline.imageservice.catalog.tasks import Task, TaskStatus
from pipeline.imageservice.data.control import Control
from pipeline.imageservice.data.judge import Facts
from pipeline.imageservice.data.receiving import NO_DATA
from pipeline.imageservice.data.staging import Staged
from pipeline.imageservice.errors import Conflict, Gone, NotFound, ServiceError
from pipeline.imageservice.importing.product import Product
from pipeline.imageservice.importing.request import ImportRequest
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.errors import ObjectMissing
from pipeline.imageservice.stores.store import Store, Stored

log = logging.getLogger("imageservice.import")
T = TypeVar("T")
_MEBIBYTE = 1 << 20


class Lost(Gone):
    """The task is another worker's by now: nothing may be touched any more."""


class ImageGone(Gone):
    """The image was deleted while it was imported."""


class Cancelled(Gone):
    """Somebody asked for the import to end."""

    def __init__(self) -> None:
        super().__init__("The import was cancelled")


@dataclass
class Step:
    """How far one step has come, in bytes. ``state``: waiting, running, done, failed."""

    state: str = "waiting"
    done: int = 0
    total: int | None = None
    error: str | None = None


class Job:
    """The import behind a claimed task. Used by several threads."""

    def __init__(self, service: Service, task: Task, control: Control) -> None:
        self.service, self.task, self.control = service, task, control
        given = task.input or {}
        self.image_id: str = given["image_id"]
        self.stores: list[str] = list(given["backend"])
        self.request = ImportRequest.parse(given["import_req"], service.import_methods)
        self.state: dict[str, Any] = dict(task.state or {})
        self.steps: dict[str, Step] = {name: Step(**step) for name, step in (task.progress or {}).items()}
        self._changed = threading.Lock()

    @property
    def attempt(self) -> str:
        """The token of this worker's writes to stores."""
        return f"{self._tokens}x{self.task.fence}"

    @property
    def _tokens(self) -> str:
        """What the tokens of all of this task's attempts begin with."""
        return self.task.id.replace("-", "")

    # What is told.

    def step(self, name: str, **changes: Any) -> None:
        """Say how a step stands; it is written down with the next renewal of the task's lease."""
        with self._changed:
            step = self.steps.setdefault(name, Step())
            for key, value in changes.items():
                setattr(step, key, value)

    def watch(self, name: str) -> StepWatch:
        """The progress of a step, for a transfer."""
        self.step(name, state="running")
        return StepWatch(self, name)

    @property
    def progress(self) -> dict[str, Any]:
        """All steps, as clients see them."""
        with self._changed:
            return {name: {k: v for k, v in asdict(step).items() if v is not None} for name, step in self.steps.items()}

    @property
    def message(self) -> str:
        """The one line old clients show."""
        with self._changed:
            copied = max((step.done for step in self.steps.values()), default=0)
        return f"Copied {copied // _MEBIBYTE} MiB"

    # What is written down.

    def renew(self, connection: Connection) -> None:
        """Hold the task, write down how far it has come, and see whether it is still wanted."""
        image = images.find(connection, self.image_id)
        try:
            tasks.renew(
                connection, self.task, self.service.leases.seconds, message=self.message, progress=self.progress
            )
        except Conflict as error:
            raise Lost(error.message) from None
        if image is None:
            raise ImageGone(f"Image {self.image_id} was deleted")
        self.require_wanted(image)

    def require_wanted(self, image: Image) -> None:
        """Raise ``Cancelled`` when somebody has asked for the end of this import."""
        if self.task.id in image.service.get(service_notes.CANCEL, "").split(","):
            raise Cancelled

    def write(self, change: Callable[[Connection, Image], T]) -> T:
        """Change the image, if the task is still ours. Raises ``Lost``, ``ImageGone``."""

        def work(connection: Connection) -> T:
            self._check(connection)
            try:
                before = images.lock(connection, self.image_id)
            except NotFound:
                raise ImageGone(f"Image {self.image_id} was deleted") from None
            return change(connection, before)

        return self.service.database.write(work)

    def remember(self, **facts: Any) -> None:
        """Write down what the next worker must know. Raises ``Lost``."""
        self.state |= facts

        def work(connection: Connection) -> None:
            self._check(connection)
            tasks.renew(connection, self.task, self.service.leases.seconds, state=self.state, progress=self.progress)

        self.service.database.write(work)

    def image(self) -> Image:
        """The image as it is now. Raises ``ImageGone``."""
        with self.service.database.read() as connection:
            image = images.find(connection, self.image_id)
        if image is None:
            raise ImageGone(f"Image {self.image_id} was deleted")
        return image

    def missing_stores(self) -> list[str]:
        """The stores that have neither got the data nor failed."""
        there = {place.store for place in self.image().readable_locations}
        return [store for store in self.stores if store not in there and store not in self.failed]

    @property
    def failed(self) -> Sequence[str]:
        """The stores that failed for good."""
        return [name for name in self.stores if self.steps.get(name, Step()).state == "failed"]

    # One store.

    def stored(self, store: Store, stored: Stored, product: Product, facts: Facts | None) -> None:
        """A store has the data: the image has one more location. With ``facts`` the image becomes active by it."""

        def change(connection: Connection, before: Image) -> None:
            metadata = dict(stored.metadata)
            locations.add(connection, before.id, stored.uri, store=store.id, metadata=metadata)
            service_notes.change_list(connection, before.id, service_notes.IMPORTING_TO_STORES, drop=[store.id])
            images.change(connection, before, **_activation(before, product, facts))

        self.write(change)
        self.step(store.id, state="done", done=product.size, total=product.size)

    def store_failed(self, store_id: str, error: ServiceError) -> None:
        """A store has failed for good."""
        log.warning(
            "import of image %s into store %s failed: %s %s", self.image_id, store_id, error.message, error.detail
        )
        self.step(store_id, state="failed", error=error.message)

        def change(connection: Connection, before: Image) -> None:
            service_notes.change_list(connection, before.id, service_notes.IMPORTING_TO_STORES, drop=[store_id])
            service_notes.change_list(connection, before.id, service_notes.FAILED_IMPORT, add=[store_id])
            images.change(connection, before)

        self.write(change)

    # The end.

    def succeed(self, product: Product, facts: Facts) -> Image:
        """Everything is where it should be. ``facts`` are those of an image that becomes active by it."""

        def change(connection: Connection, before: Image) -> Image:
            self._end(connection, TaskStatus.SUCCESS, result={"image_id": before.id})
            return images.change(connection, before, **_activation(before, product, facts))

        image = self.write(change)
        self._drop_staged()
        return image

    def fail(self, message: str, failed: Sequence[str]) -> None:
        """Undo what was done, and say why; ``failed`` stores are told as such. A later worker may call it again."""
        self.state["failure"] = {"message": message, "failed": list(failed)}

        def undo(connection: Connection, before: Image) -> list[Location]:
            tasks.renew(connection, self.task, self.service.leases.seconds, state=self.state, progress=self.progress)
            made = [place for place in before.locations if place.store in self.stores]
            for place in made:
                locations.change(connection, place, state=LocationState.DELETING)
            images.change(connection, before)
            return made

        try:
            for place in self.write(undo):
                self._remove(place)
            self._sweep_stores()
            self.write(lambda connection, before: self._close_failed(connection, before, message, failed))
        except ImageGone:
            self.abandon()
            return
        self._drop_staged()

    def abandon(self) -> None:
        """The image was deleted: nothing of it stays."""
        self._sweep_stores()
        self._drop_staged()

        def work(connection: Connection) -> None:
            self._check(connection)
            self._end(connection, TaskStatus.FAILURE, message="The image was deleted")

        self.service.database.write(work)

    def clean_up(self) -> None:
        """Remove what this task's dead attempts left half-written."""
        for store in [*self._known_stores(), self.service.staging]:
            try:
                for left in store.incomplete():
                    if left.attempt.startswith(self._tokens) and left.attempt != self.attempt:
                        store.discard(left)
            except ServiceError as error:
                log.warning("store %s cannot be tidied up now: %s", store.id, error.message)

    def _close_failed(self, connection: Connection, before: Image, message: str, failed: Sequence[str]) -> None:
        self._end(connection, TaskStatus.FAILURE, message=message)
        service_notes.change_list(connection, before.id, service_notes.FAILED_IMPORT, add=failed)
        waits = before.status is ImageStatus.IMPORTING
        images.change(connection, before, **({"status": ImageStatus.QUEUED, **NO_DATA} if waits else {}))

    def _end(self, connection: Connection, status: TaskStatus, **facts: Any) -> None:
        hours = self.service.settings.api.tasks_hours
        with self._changed:
            for step in self.steps.values():
                step.state = "done" if status is TaskStatus.SUCCESS and step.state == "running" else step.state
        tasks.renew(connection, self.task, self.service.leases.seconds, progress=self.progress)
        tasks.finish(connection, self.task, status, hours_to_live=hours, **facts)
        quotas.release(connection, self.image_id)
        service_notes.remove(connection, self.image_id, service_notes.IMPORT_TASK, only_if=self.task.id)
        if not self.request.is_copy:
            for note in (service_notes.STAGED, service_notes.STAGE_HOST):
                service_notes.remove(connection, self.image_id, note)
        if images.find(connection, self.image_id) is not None:
            service_notes.change_list(connection, self.image_id, service_notes.IMPORTING_TO_STORES, drop=self.stores)
            if not service_notes.change_list(connection, self.image_id, service_notes.CANCEL, drop=[self.task.id]):
                service_notes.remove(connection, self.image_id, service_notes.CANCEL)

    def _check(self, connection: Connection) -> None:
        try:
            tasks.check(connection, self.task)
        except Conflict as error:
            raise Lost(error.message) from None

    def _remove(self, place: Location) -> None:
        try:
            deletion.remove_data(self.service, place)
        except ServiceError as error:
            log.warning("image %s: its data in store %s stays for now: %s", self.image_id, place.store, error.message)

    def _sweep_stores(self) -> None:
        """Remove objects that were made to appear, but that the catalog does not know of."""
        self.clean_up()
        for store in self._known_stores():
            try:
                there = store.find(self.image_id)
                if there is None:
                    continue
                with self.service.database.read() as connection:
                    known = locations.with_url(connection, there.uri)
                if not known:
                    store.delete(there.uri)
            except ObjectMissing:
                continue
            except ServiceError as error:
                log.warning("store %s cannot be tidied up now: %s", store.id, error.message)

    def _known_stores(self) -> list[Store]:
        return [self.service.stores[name] for name in self.stores if name in self.service.stores]

    def _drop_staged(self) -> None:
        """Remove what was staged for this import."""
        staged = self.state.get("staged")
        names = {Staged(**staged).name} if staged else set()
        if not self.request.is_copy:
            names |= {self.image_id, f"{self.image_id}.converted", f"{self.image_id}.plain"}
        for name in names:
            try:
                found = self.service.staging.find(name)
                if found is not None:
                    self.service.staging.delete(found.uri)
            except ObjectMissing:
                continue
            except ServiceError as error:
                log.warning("staged data of image %s stays for now: %s", self.image_id, error.message)


def _activation(image: Image, product: Product, facts: Facts | None) -> Mapping[str, Any]:
    """What becomes of an image that is being imported when its data is there: nothing as long as facts are missing."""
    if facts is None or image.status is not ImageStatus.IMPORTING:
        return {}
    converted = {"disk_format": product.disk_format} if product.disk_format is not None else {}
    return {"status": ImageStatus.ACTIVE, "size": product.size, **facts.of_image, **converted}


class StepWatch:
    """Notes a transfer's progress as that of a step."""

    def __init__(self, job: Job, name: str) -> None:
        self._job, self._name = job, name

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """See ``Progress``."""
        self._job.step(self._name, done=done, total=total)

    def say(self, text: str) -> None:
        """Nothing is said of it."""
