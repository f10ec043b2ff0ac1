"""Send events without holding up requests: a thread of its own, a bounded queue, one target after the other."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.model.images import Image, Member
from pipeline.imageservice.model.tasks import Task, TaskStatus
from pipeline.imageservice.notifications import payloads
from pipeline.imageservice.notifications.options import NotificationOptions
from pipeline.imageservice.notifications.targets import NotificationTarget, make_target

log = logging.getLogger("imageservice.notifications")
_ENDS = {TaskStatus.SUCCESS: "task.success", TaskStatus.FAILURE: "task.failure"}
Level = Literal["INFO", "WARN", "ERROR"]


class Delivery(Protocol):
    """An event on its way to the targets."""

    message: Mapping[str, Any]

    def begin(self) -> bool:
        """Return whether it is still to be sent."""

    def end(self) -> None:
        """Note that every target was asked to take it."""


class _Plain:
    """An event that nobody else knows of."""

    def __init__(self, message: Mapping[str, Any]) -> None:
        self.message = message

    def begin(self) -> bool:
        """See ``Delivery``."""
        return True

    def end(self) -> None:
        """Do nothing: nothing is kept of it."""


class Notifier:
    """Takes events from every thread of a process. Nothing waits for a target."""

    def __init__(self, options: NotificationOptions) -> None:
        self._options = options
        self._disabled = tuple(options.disabled)
        self._lock = threading.Lock()
        self._process = 0
        self._waiting: queue.Queue[Delivery] = queue.Queue(options.queue)
        self._targets: Sequence[NotificationTarget] = ()

    @property
    def has_targets(self) -> bool:
        """Whether anybody is told anything."""
        return bool(self._options.targets)

    def wants(self, event: str) -> bool:
        """Return whether anybody is told of such events."""
        return self.has_targets and not event.startswith(self._disabled or ("\0",))

    def check(self) -> None:
        """Raise ``PipelineError`` when a target cannot be made of its settings; nothing is contacted."""
        for options in self._options.targets:
            make_target(options)

    def image(
        self, event: str, image: Image, caller: Caller | None = None, *, level: Level = "INFO", **more: Any
    ) -> None:
        """Send that something happened to an image: ``image.create``, ``image.prepare``, ``image.upload`` and so on."""
        if self.wants(event):
            self._emit(event, {**payloads.image_payload(image), **more}, caller, level)

    def sent(self, image: Image, caller: Caller, *, sent: int, expected: int) -> None:
        """Send that a download ended, after ``sent`` of ``expected`` bytes; fewer are an error."""
        if self.wants("image.send"):
            payload = payloads.send_payload(image, caller, sent)
            self._emit("image.send", payload, caller, "INFO" if sent == expected else "ERROR")

    def member(self, event: str, member: Member, caller: Caller, *, deleted: bool = False) -> None:
        """Send that something happened to a membership."""
        if self.wants(event):
            self._emit(event, payloads.member_payload(member, deleted), caller, "INFO")

    def task(self, event: str, task: Task, caller: Caller | None = None) -> None:
        """Send that a task took a step."""
        if self.wants(event):
            self._emit(event, payloads.task_payload(task), caller, "INFO")

    def ended(self, task: Task) -> None:
        """Send that a task is over, if it is."""
        if task.status in _ENDS:
            self.task(_ENDS[task.status], task)

    def other(self, event: str, payload: Mapping[str, Any], caller: Caller | None = None) -> None:
        """Send any other event, with a payload ready to send (metadata definitions)."""
        if self.wants(event):
            self._emit(event, payload, caller, "INFO")

    def drain(self, seconds: float) -> bool:
        """Wait until everything was sent, at the most for ``seconds``; whether it was."""
        end = time.monotonic() + seconds
        while self._waiting.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.02)
        return not self._waiting.unfinished_tasks

    def message(
        self,
        event: str,
        payload: Mapping[str, Any],
        caller: Caller | None,
        level: Level,
        *,
        message_id: str | None = None,
    ) -> dict[str, Any]:
        """Return an event as it is sent."""
        return {
            "message_id": message_id or str(uuid.uuid4()),
            "publisher_id": f"image.{os.uname().nodename}",
            "event_type": event,
            "priority": level,
            "timestamp": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
            "project_id": caller.project if caller else None,
            "user_id": caller.user if caller else None,
            "payload": payload,
        }

    def enqueue(self, delivery: Delivery) -> bool:
        """Send an event as soon as those before it were sent; whether there is room for it."""
        self._start()
        try:
            self._waiting.put_nowait(delivery)
        except queue.Full:
            return False
        return True

    def _emit(self, event: str, payload: Mapping[str, Any], caller: Caller | None, level: Level) -> None:
        if not self.enqueue(_Plain(self.message(event, payload, caller, level))):
            log.error("the queue of notifications is full: dropped %s", event)

    def _start(self) -> None:
        """Threads do not survive a fork, so they are started by the first event of a process."""
        if self._process == os.getpid():
            return
        with self._lock:
            if self._process != os.getpid():
                self._waiting = queue.Queue(self._options.queue)
                self._targets = [make_target(options) for options in self._options.targets]
                threading.Thread(target=self._run, name="notifications", daemon=True).start()
                self._process = os.getpid()

    def _run(self) -> None:
        while True:
            delivery = self._waiting.get()
            try:
                if delivery.begin():
                    self._send(delivery.message)
                    delivery.end()
            except Exception as error:
                log.error("%s may be sent once more: %s", delivery.message["event_type"], error)
            self._waiting.task_done()

    def _send(self, message: Mapping[str, Any]) -> None:
        for target in self._targets:
            try:
                target.send(message)
            except Exception as error:
                log.error("%s was not sent to %s: %s", message["event_type"], target.name, error)
