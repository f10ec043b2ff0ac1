"""Share out a worker's slots for durable work among projects, and let what is slow give way to those who wait.

Tasks count over all nodes, as the catalog knows them. A worker keeps its last slot for projects that have none at
work, and looks after what it does itself: how far a task's fetch has come stands in the task.
"""

from __future__ import annotations

import hashlib
import threading
import time

from pipeline.imageservice.cancellation.active_transfers import Stopping
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.data.slots.decide import SlotHolder, SlotWaiter, decide
from pipeline.imageservice.data.slots.errors import Preempted
from pipeline.imageservice.data.slots.rate import RecentRate
from pipeline.imageservice.model.images import now
from pipeline.imageservice.model.tasks import Task
from pipeline.imageservice.service import Service

_LOOKED_AT = 200  # of those who wait, the first


class _TaskSlot:
    """A slot in use."""

    def __init__(self, kinds: frozenset[str], cancel_token: CancelToken, seconds: float) -> None:
        self.kinds, self.cancel_token = kinds, cancel_token
        self.preempted = False
        self._seconds = seconds
        self._rate: RecentRate | None = None
        self._before = 0

    def rate(self, task: Task) -> float:
        """Bytes a second of the task's fetch over the last while; infinite while it does something else."""
        step = (task.progress or {}).get("fetch", {})
        if step.get("state") != "running":
            self._rate = None
            return float("inf")
        moment, done = time.monotonic(), int(step.get("done", 0))
        if self._rate is None:
            self._rate, self._before = RecentRate(self._seconds, moment), done
        return self._rate.look(moment, done - self._before)


class TaskSlots:
    """The slots of one worker process: ``imports.jobs`` for each group of kinds of tasks."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._jobs = service.settings.imports.jobs
        self._changed = threading.Lock()
        self._used: dict[str, _TaskSlot] = {}  # by the task's id

    def free(self, kinds: frozenset[str]) -> int:
        """Return how many slots for ``kinds`` are free."""
        with self._changed:
            return self._jobs - sum(slot.kinds == kinds for slot in self._used.values())

    def only_newcomers(self, kinds: frozenset[str]) -> bool:
        """Return whether the one free slot is kept for projects that have none at work."""
        return self._jobs > 1 and self.free(kinds) == 1

    def take(self, kinds: frozenset[str], task: Task, cancel_token: CancelToken) -> None:
        """Let a task have a slot."""
        with self._changed:
            self._used[task.id] = _TaskSlot(kinds, cancel_token, self._service.settings.server.least_rate_seconds)

    def give_back(self, task: Task) -> None:
        """Take it back."""
        with self._changed:
            self._used.pop(task.id, None)

    def preempt(self, kinds: frozenset[str]) -> None:
        """End what has to give way to those who wait, as far as it is done here.

        What is slow fails, and its task says why; what is healthy goes back into the queue, for a later turn.
        """
        with self._changed:
            own = dict(self._used)
        if not own:
            return
        rules = self._service.settings.server
        with self._service.database.read() as connection:
            working = task_queue.at_work(connection, kinds)
            waiting = task_queue.in_line(connection, kinds, _LOOKED_AT)
        rates = {task.id: own[task.id].rate(task) for task in working if task.id in own}
        if self.free(kinds) > 1 or not waiting:
            return
        holders = [
            SlotHolder(
                number,
                _project(task),
                rates.get(task.id, float("inf")) < rules.least_rate,
                rates.get(task.id, float("inf")),
                preempted=task.id in own and own[task.id].preempted,
            )
            for number, task in enumerate(working)
        ]
        waiters = [SlotWaiter(number, _project(task), task.not_before / 1e6) for number, task in enumerate(waiting)]
        capacity = len(holders) + self.free(kinds)
        decision = decide(capacity, holders, waiters, now() / 1e6, rules.least_rate_seconds)
        for number in decision.preempted:
            slot = own.get(working[number].id)
            if slot is not None:
                slot.preempted = True
                slow = holders[number].slow
                preempted = Preempted(rules.least_rate, rules.least_rate_seconds, slow=True)
                slot.cancel_token.stop(preempted if slow else Stopping())


def _project(task: Task) -> bytes:
    return hashlib.sha256((task.owner or "").encode()).digest()
