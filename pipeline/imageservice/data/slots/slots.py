"""Hold a slot while something runs: wait for it, fairly, and give it up when others wait.

One thread of a process looks after all it holds: it writes down how fast each transfer is, and ends those that the
table tells to. A process that has nothing to do with slots has no such thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.base.owner import Owner
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.slots.decide import SlotHolder, SlotWaiter, decide
from pipeline.imageservice.data.slots.errors import NoSlot, Preempted
from pipeline.imageservice.data.slots.rate import RecentRate
from pipeline.imageservice.data.slots.table import RUNNING, WAITING, SlotRecord, SlotTable
from pipeline.imageservice.data.slots.turns import Turns

log = logging.getLogger("imageservice.slots")

_TICK = 0.25


class SlotKind(StrEnum):
    """What there are slots for, each with its own."""

    UPLOAD = "upload"
    DOWNLOAD = "download"
    BODY = "body"  # of a request for metadata that is long or comes slowly
    ANSWER = "answer"  # to one: that is long, or not taken at once
    CHECK = "check"  # of a location, or of data that has to fit a signature
    DELETE = "delete"


_MOVING = (SlotKind.UPLOAD, SlotKind.DOWNLOAD, SlotKind.BODY, SlotKind.ANSWER)


@dataclass(frozen=True)
class SlotRules:
    """How slots are shared out. ``capacity``: slots of a kind on this node; as many may wait, half of them of one
    project. ``rate``: bytes a second below which a transfer gives way, taken over ``seconds``. ``wait``: how long
    somebody waits for a slot at the most.
    """

    capacity: Mapping[SlotKind, int]
    rate: float = 10 << 10
    seconds: float = 60
    wait: float = 150

    def entries(self, kind: SlotKind) -> int:
        """Return how many may hold a slot or wait for one."""
        return 2 * self.capacity[kind]


@dataclass(frozen=True)
class SlotUse:
    """How many hold a slot of a kind, and how many wait for one."""

    used: int
    waiting: int


class Slot:
    """A slot that is held. ``moved`` returns the bytes that have moved; ``cut`` ends what hears of no token."""

    def __init__(self, kind: SlotKind, index: int, cancel_token: CancelToken, begun: float, seconds: float) -> None:
        self.kind, self.index, self.cancel_token = kind, index, cancel_token
        self.moved: Callable[[], int] = lambda: self._count
        self.cut: Callable[[], None] = lambda: None
        self.rate = RecentRate(seconds, begun)
        self.slow = False
        self.preempted = False
        self._count = 0
        self._moves = kind in _MOVING

    @property
    def moves(self) -> bool:
        """Whether bytes are on their way whose rate says something."""
        return self._moves

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """Count bytes, as a transfer's progress."""
        self._count = done

    def say(self, text: str) -> None:
        """Do nothing: nothing is said of it."""

    def arrived(self) -> None:
        """Count as healthy from now on: the other side has done its part."""
        self._moves = False


class Slots:
    """The slots of a node, as one of its processes sees them. ``folder``: where all of them do.

    ``turns``: those of the process's own threads. Who holds a slot or waits for one has no turn meanwhile.
    """

    def __init__(self, folder: Path, rules: SlotRules, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.rules, self._clock = rules, clock
        self._folder = folder
        self._tables = {
            kind: SlotTable(folder / f"{kind}-{rules.entries(kind)}", rules.entries(kind)) for kind in rules.capacity
        }
        self.turns = Turns(rules.capacity.get(SlotKind.BODY, 0), rules.wait)
        self._changed = threading.Condition()
        self._held: dict[tuple[SlotKind, int], Slot] = {}
        self._waiting = 0
        self._process = 0
        self._thread: threading.Thread | None = None
        self._me = (0, 0, "")

    @contextlib.contextmanager
    def held(self, kind: SlotKind, project: str | None, cancel_token: CancelToken | None = None) -> Iterator[Slot]:
        """Hold a slot for ``project`` while the block runs; ``cancel_token`` is stopped when it has to be given up.

        Raises ``NoSlot`` when none can be had in time, and what the token raises while waiting.
        """
        with self.turns.given_up(), self._held_slot(kind, project, cancel_token or CancelToken()) as slot:
            yield slot

    def use(self) -> Mapping[SlotKind, SlotUse]:
        """Return how many slots are in use on this node, and how many wait, of each kind."""
        found = {}
        for kind, table in self._tables.items():
            with table.locked():
                states = [one.state for one in self._living(kind).values()]
            found[kind] = SlotUse(states.count(RUNNING), states.count(WAITING))
        return found

    def tick(self) -> None:
        """Look after everything this process holds, once: rates, those who wait, those who have to end."""
        with self._changed:
            held = dict(self._held)
        for kind in {kind for kind, _ in held} | (set(self._tables) if self._waiting else set()):
            self._look_after(kind, {index: slot for (other, index), slot in held.items() if other is kind})

    @contextlib.contextmanager
    def _held_slot(self, kind: SlotKind, project: str | None, token: CancelToken) -> Iterator[Slot]:
        self._begin()
        index = self._enter(kind, hashlib.sha256((project or "").encode()).digest()[:16])
        try:
            self._await(kind, index, token)
            slot = Slot(kind, index, token, self._clock(), self.rules.seconds)
            with self._changed:
                self._held[kind, index] = slot
                self._changed.notify_all()
            yield slot
        finally:
            with self._changed:
                self._held.pop((kind, index), None)
            table = self._tables[kind]
            with table.locked():
                table.free(index)
                self._decide(kind, table.all())

    def close(self) -> None:
        """End the thread, and close the tables where no slot is held. The next use begins anew."""
        with self._changed:
            if self._held or self._waiting:
                return
            self._process, self._thread = 0, None
            self._changed.notify_all()
        for table in self._tables.values():
            table.close()

    def _begin(self) -> None:
        """Know who this process is: threads and names do not survive a fork."""
        with self._changed:
            if self._process == os.getpid():
                return
            self._process = os.getpid()
            self._held, self._waiting = {}, 0
            me = Owner.current()
            self._me = (me.pid, me.start, me.boot)
            self._thread = threading.Thread(target=self._run, name="slots", daemon=True)
            self._thread.start()

    def _enter(self, kind: SlotKind, project: bytes) -> int:
        """Stand in line; the entry in the table. It may be the first one already."""
        table, (pid, start, _) = self._tables[kind], self._me
        with table.locked():
            records = table.all()
            if len(records) >= self.rules.capacity[kind]:
                records = self._living(kind)
            of_project = sum(one.state == WAITING and one.project == project for one in records.values())
            if of_project and of_project >= self.rules.capacity[kind] // 2:
                raise self._none(kind, "too many of this project's wait already")
            index = table.add(records, SlotRecord(WAITING, pid, start, self._clock(), project))
            if index is None:
                raise self._none(kind, "too many wait already")
            self._decide(kind, records)
        return index

    def _await(self, kind: SlotKind, index: int, token: CancelToken) -> None:
        """Wait until the entry is a slot."""
        table, until = self._tables[kind], self._clock() + self.rules.wait
        if table.look(index)[0] == RUNNING:
            return
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            try:
                while table.look(index)[0] != RUNNING:
                    token.check()
                    if self._clock() >= until:
                        raise self._none(kind, f"none became free within {self.rules.wait:g} seconds")
                    self._changed.wait(_TICK)
            finally:
                self._waiting -= 1

    def _none(self, kind: SlotKind, why: str) -> NoSlot:
        return NoSlot(f"All slots for this kind of request ({kind}) are in use, and {why}; try again later", 30)

    def _decide(self, kind: SlotKind, records: dict[int, SlotRecord]) -> None:
        """Grant slots and tell who has to end, with the table locked."""
        waiting = [SlotWaiter(key, one.project, one.since) for key, one in records.items() if one.state == WAITING]
        if not waiting:
            return
        running = [
            SlotHolder(key, one.project, one.slow, one.rate, one.preempted)
            for key, one in records.items()
            if one.state == RUNNING
        ]
        now = self._clock()
        decision = decide(self.rules.capacity[kind], running, waiting, now, self.rules.seconds)
        for key in decision.granted:
            records[key].state, records[key].since = RUNNING, now
            self._tables[kind].put(key, records[key])
        for key in decision.preempted:
            records[key].preempted = True
            self._tables[kind].put(key, records[key])

    def _living(self, kind: SlotKind) -> dict[int, SlotRecord]:
        """Return the records, without those of processes that died, which are freed; with the table locked."""
        table, records = self._tables[kind], self._tables[kind].all()
        boot = self._me[2] or Owner.current().boot
        dead = {
            owner
            for owner in {(one.pid, one.start) for one in records.values()}
            if owner != self._me[:2] and not Owner(*owner, boot).is_alive()
        }
        for index, one in list(records.items()):
            if (one.pid, one.start) in dead:
                table.free(index)
                del records[index]
        return records

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._is_on() and not self._held and not self._waiting:
                    self._changed.wait()
            if not self._is_on():
                return
            time.sleep(_TICK)
            try:
                self.tick()
            except Exception:
                log.exception("slots cannot be looked after; it will be tried again")

    def _is_on(self) -> bool:
        return self._thread is threading.current_thread()

    def _look_after(self, kind: SlotKind, held: dict[int, Slot]) -> None:
        table, now = self._tables[kind], self._clock()
        with table.locked():
            records = self._living(kind) if self._waiting else table.all()
            for index, slot in held.items():
                record = records.get(index)
                if record is None or (record.pid, record.start) != self._me[:2]:
                    continue
                rate = slot.rate.look(now, slot.moved()) if slot.moves else float("inf")
                slot.slow = rate < self.rules.rate
                if (record.slow, record.rate) != (slot.slow, rate):
                    record.slow, record.rate = slot.slow, rate
                    table.put(index, record)
            self._decide(kind, records)
            preempted = [slot for index, slot in held.items() if index in records and records[index].preempted]
        for slot in preempted:
            self._end(slot)
        with self._changed:
            self._changed.notify_all()

    def _end(self, slot: Slot) -> None:
        if slot.preempted:
            return
        slot.preempted = True
        log.info("a transfer (%s) gives way to those who wait", slot.kind)
        slot.cancel_token.stop(Preempted(self.rules.rate, self.rules.seconds, slow=slot.slow))
        slot.cut()
