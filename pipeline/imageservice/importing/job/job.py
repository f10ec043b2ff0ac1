"""Track one import under way: what it has done so far, written down so that another worker can go on or undo it.

Every write to the catalog first makes sure that the task is still this worker's, in the same transaction.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog import quotas
from pipeline.imageservice.catalog.images import locations, service_notes
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.data.verdict import DataFacts
from pipeline.imageservice.errors import Conflict, Gone, NotFound, ServiceError
from pipeline.imageservice.importing.job.events import ImportEvents
from pipeline.imageservice.importing.job.product import PreparedData
from pipeline.imageservice.importing.job.request import TYPE, ImportRequest
from pipeline.imageservice.lifecycle.guards import objects, signatures
from pipeline.imageservice.model.images import Image, ImageStatus
from pipeline.imageservice.model.tasks import Task, TaskStatus
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.base import Store, StoredObject

log = logging.getLogger("imageservice.import")
T = TypeVar("T")
_MEBIBYTE = 1 << 20
_LONGEST_HISTORY = 50  # entries of one step; the newest stay


class LeaseLost(Gone):
    """The task is another worker's by now: nothing may be touched any more."""


class ImageGone(Gone):
    """The image was deleted while it was imported."""


class Cancelled(Gone):
    """Somebody asked for the import to end."""

    def __init__(self) -> None:
        super().__init__("The import was cancelled")


@dataclass
class JobStep:
    """How far one step has come, in bytes. ``state``: waiting, running, done, failed.

    ``history``: what went wrong on the way and was tried again, oldest first.
    """

    state: str = "waiting"
    done: int = 0
    total: int | None = None
    error: str | None = None
    history: list[str] | None = None


class Job:
    """The import behind a claimed task. Used by several threads.

    ``token``: the caller's, where this process still has it.
    """

    def __init__(self, service: Service, task: Task, cancel_token: CancelToken, token: str | None = None) -> None:
        self.service, self.task, self.cancel_token, self.token = service, task, cancel_token, token
        given = task.input or {}
        self.image_id: str = given["image_id"]
        self.stores: list[str] = list(given["backend"])
        self.request = ImportRequest.parse(given["import_req"], service.import_methods)
        self.state: dict[str, Any] = dict(task.state or {})
        self.steps: dict[str, JobStep] = {name: JobStep(**step) for name, step in (task.progress or {}).items()}
        self.events = ImportEvents(service, task, self.image_id)
        self.signed: Image | None = None  # the image as it was when its signature was checked
        self._changed = threading.Lock()

    @property
    def attempt(self) -> str:
        """The token of this worker's writes to stores."""
        return f"{self._tokens}x{self.task.fence}"

    @property
    def _tokens(self) -> str:
        """What the tokens of all of this task's attempts begin with."""
        return self.task.id.replace("-", "")

    def is_own(self, attempt: str) -> bool:
        """Return whether an attempt's token is one of this task's."""
        return attempt.startswith(self._tokens)

    @property
    def made_image(self) -> bool:
        """Whether the image is there only because of this import, as with those of the old tasks API."""
        return self.task.type != TYPE

    @property
    def status(self) -> ImageStatus:
        """What the image is while it waits for its data."""
        return ImageStatus.SAVING if self.made_image else ImageStatus.IMPORTING

    # What is told.

    def step(self, name: str, **changes: Any) -> None:
        """Say how a step stands; it is written down with the next renewal of the task's lease."""
        with self._changed:
            step = self.steps.setdefault(name, JobStep())
            for key, value in changes.items():
                setattr(step, key, value)

    def note(self, name: str, text: str) -> None:
        """Add to a step's history what went wrong and is tried again."""
        log.info("import of image %s: %s: %s", self.image_id, name, text)
        with self._changed:
            step = self.steps.setdefault(name, JobStep())
            now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            step.history = [*(step.history or ()), f"{now} {text}"][-_LONGEST_HISTORY:]

    def watch(self, name: str, *, begin: int = 0, of: int | None = None) -> StepWatch:
        """Return the progress of a step; ``begin`` bytes had been done before. ``of``: bytes, where it comes in
        percent.
        """
        self.step(name, state="running")
        return StepWatch(self, name, begin, of)

    def close_steps(self, status: TaskStatus) -> None:
        """Let no step look as if it went on."""
        with self._changed:
            for step in self.steps.values():
                if status is TaskStatus.SUCCESS and step.state == "running":
                    step.state = "done"

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
        image = image_records.find(connection, self.image_id)
        try:
            task_queue.renew(
                connection, self.task, self.service.leases.seconds, message=self.message, progress=self.progress
            )
        except Conflict as error:
            raise LeaseLost(error.message) from None
        if image is None:
            raise ImageGone(f"Image {self.image_id} was deleted")
        self.require_not_cancelled(image)

    def require_not_cancelled(self, image: Image) -> None:
        """Raise ``Cancelled`` when somebody has asked for the end of this import."""
        if self.task.id in image.service.get(service_notes.CANCEL, "").split(","):
            raise Cancelled

    def write(self, change: Callable[[Connection, Image], T]) -> T:
        """Change the image, if the task is still ours. Raises ``LeaseLost``, ``ImageGone``."""

        def work(connection: Connection) -> T:
            self.check(connection)
            try:
                before = image_records.lock(connection, self.image_id)
            except NotFound:
                raise ImageGone(f"Image {self.image_id} was deleted") from None
            return change(connection, before)

        result = self.service.database.write(work)
        self.events.send()
        return result

    def remember(self, **facts: Any) -> None:
        """Write down what the next worker must know. Raises ``LeaseLost``."""
        self.state |= facts

        def work(connection: Connection) -> None:
            self.check(connection)
            task_queue.renew(
                connection, self.task, self.service.leases.seconds, state=self.state, progress=self.progress
            )

        self.service.database.write(work)

    def image(self) -> Image:
        """Return the image as it is now. Raises ``ImageGone``."""
        with self.service.database.read() as connection:
            image = image_records.find(connection, self.image_id)
        if image is None:
            raise ImageGone(f"Image {self.image_id} was deleted")
        return image

    def missing_stores(self) -> list[str]:
        """Return the stores that have neither got the data nor failed."""
        there = {location.store for location in self.image().readable_locations}
        return [store for store in self.stores if store not in there and store not in self.failed]

    @property
    def failed(self) -> Sequence[str]:
        """The stores that failed for good."""
        return [name for name in self.stores if self.steps.get(name, JobStep()).state == "failed"]

    def taken_over_before(self, image: Image) -> Mapping[str, Any]:
        """Return what the image's fields were before a failed import changed them to those of its source."""
        was = self.state.get("before")
        if was is None:
            return {}
        kept = {name: value for name, value in image.properties.items() if name not in was["taken"]}
        formats = {name: was[name] for name in ("disk_format", "container_format")}
        return {**formats, "properties": {**kept, **was["properties"]}}

    # One store.

    def prepare(self, stores: Sequence[str]) -> None:
        """Say that data is about to be stored."""

        def change(connection: Connection, before: Image) -> None:
            task_queue.renew(connection, self.task, self.service.leases.seconds, progress=self.progress)
            self.events.prepare(connection, stores)

        self.write(change)

    def stored(self, store: Store, stored: StoredObject, product: PreparedData, facts: DataFacts | None) -> None:
        """Note that a store has the data: the image has one more location. With ``facts`` the image becomes active by
        it.
        """

        def change(connection: Connection, before: Image) -> None:
            metadata = dict(stored.metadata)
            identity = objects.settle(connection, self.service, store, before.id, stored.uri)
            locations.add(connection, before.id, stored.uri, store=store.id, metadata=metadata, identity=identity)
            service_notes.change_list(connection, before.id, service_notes.IMPORTING_TO_STORES, drop=[store.id])
            quotas.fulfil(connection, before.id, stored=product.size)
            after = image_records.change(connection, before, **activation(self, before, product, facts))
            self.events.upload(connection, store.id)
            if after.status is ImageStatus.ACTIVE and not self.request.all_must_succeed:
                self.events.activate(connection, [store.id])

        self.write(change)
        self.step(store.id, state="done", done=product.size, total=product.size)

    def store_failed(self, store_id: str, error: ServiceError) -> None:
        """Note that a store has failed for good."""
        log.warning(
            "import of image %s into store %s failed: %s %s", self.image_id, store_id, error.message, error.detail
        )
        self.step(store_id, state="failed", error=error.message)

        def change(connection: Connection, before: Image) -> None:
            service_notes.change_list(connection, before.id, service_notes.IMPORTING_TO_STORES, drop=[store_id])
            service_notes.change_list(connection, before.id, service_notes.FAILED_IMPORT, add=[store_id])
            image_records.change(connection, before)
            # Written down at once: a worker after this one does not try the store again.
            task_queue.renew(connection, self.task, self.service.leases.seconds, progress=self.progress)
            self.events.failure(connection, [store_id], error.message)

        self.write(change)

    def reserve(self, store: Store) -> str:
        """Return the name for what this worker puts into a store next. Raises ``Lost``, ``StoreUnavailable``."""
        return objects.reserve(self.service, store, self.image_id, self.attempt, self.check)

    def check(self, connection: Connection) -> None:
        """Raise ``LeaseLost`` unless the task is still ours; nobody else gets it before this transaction ends."""
        try:
            task_queue.check(connection, self.task)
        except Conflict as error:
            raise LeaseLost(error.message) from None


def activation(job: Job, image: Image, product: PreparedData, facts: DataFacts | None) -> Mapping[str, Any]:
    """Return what becomes of an image that is being imported when its data is there: nothing as long as facts are
    missing.
    """
    if facts is None or image.status is not job.status:
        return {}
    if job.signed is not None:
        signatures.require_same(job.signed, image)
    converted = {"disk_format": product.disk_format} if product.disk_format is not None else {}
    return {"status": ImageStatus.ACTIVE, "size": product.size, **facts.of_image, **converted}


class StepWatch:
    """Notes a transfer's progress as that of a step, and ends the work when nobody wants it any more."""

    def __init__(self, job: Job, name: str, begin: int, of: int | None) -> None:
        self._job, self._name, self._begin, self._of = job, name, begin, of

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """See ``Progress``."""
        self._job.cancel_token.check()
        if unit == "%":
            done, total = (self._of or 0) * done // 100, self._of
        whole = None if total is None else self._begin + total
        self._job.step(self._name, done=self._begin + done, total=whole)

    def say(self, text: str) -> None:
        """Do nothing: nothing is said of it."""
