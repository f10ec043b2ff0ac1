"""Renew the leases of this process's work.

An upload holds a lease on its image, a worker one on its task. One thread renews all of them, in short transactions:
hundreds of uploads do not keep others from writing. Work whose lease can't be renewed is stopped before the lease ends,
so that nobody else's clean-up meets it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.catalog.tasks import leases
from pipeline.imageservice.catalog.tasks.leases import Lease
from pipeline.imageservice.errors import Gone, ServiceError, Unavailable

log = logging.getLogger("imageservice.leases")

_LONGEST_PAUSE = 5.0
_AT_ONCE = 32  # leases in one transaction


@dataclass(eq=False)
class _HeldLease:
    renew: Callable[[Connection], object]
    cancel_token: CancelToken
    ends: float  # monotonic


class LeaseKeeper:
    """Renews leases of ``seconds`` each."""

    def __init__(self, database: Database, seconds: float) -> None:
        self.seconds = seconds
        self._database = database
        self._margin = seconds / 5
        self._pause = min(_LONGEST_PAUSE, seconds / 4)
        self._held: set[_HeldLease] = set()
        self._changed = threading.Condition()
        self._process = 0
        self._thread: threading.Thread | None = None
        self._token = uuid.uuid4().hex[:12]

    @property
    def holder(self) -> str:
        """Who this process is, unlike any other there ever was."""
        return f"{socket.gethostname()}:{os.getpid()}:{self._token}"

    @contextlib.contextmanager
    def kept(self, renew: Callable[[Connection], object], cancel_token: CancelToken) -> Iterator[None]:
        """Call ``renew`` again and again while the block runs; it gives what is held another ``seconds``.

        What it raises, and that it can't be called in time, stops ``cancel_token``.
        """
        held = _HeldLease(renew, cancel_token, time.monotonic() + self.seconds)
        with self._changed:
            self._held.add(held)
            self._start()
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._held.discard(held)

    def renewal(self, lease: Lease, check: Callable[[Connection], object]) -> Callable[[Connection], object]:
        """Return how to renew ``lease``, as long as ``check`` does not raise."""

        def renew(connection: Connection) -> None:
            check(connection)
            leases.renew(connection, lease, self.seconds)

        return renew

    def _start(self) -> None:
        """Threads do not survive a fork, so the first lease of a process starts its own."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread, where nothing is held. The next lease begins anew."""
        with self._changed:
            if not self._held:
                self._process, self._thread = 0, None
                self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._is_on() and not self._held:
                    self._changed.wait()
            if not self._is_on():
                return
            time.sleep(self._pause)
            with self._changed:
                held = list(self._held)
            for first in range(0, len(held), _AT_ONCE):
                self._renew(held[first : first + _AT_ONCE])

    def _is_on(self) -> bool:
        return self._thread is threading.current_thread()

    def _renew(self, held: list[_HeldLease]) -> None:
        begun = time.monotonic()
        try:
            lost = self._database.write(lambda connection: self._renew_all(connection, held))
        except Exception as error:  # the database may be away for a while; the leases' ends decide
            log.warning("leases could not be renewed: %s", error)
            lost = {}
        else:
            for one in held:
                one.ends = begun + self.seconds
        for one in held:
            if one in lost:
                one.cancel_token.stop(lost[one])
            elif time.monotonic() > one.ends - self._margin:
                one.cancel_token.stop(Unavailable("The image catalog does not answer, so the data cannot be kept"))

    def _renew_all(self, connection: Connection, held: list[_HeldLease]) -> dict[_HeldLease, ServiceError]:
        lost: dict[_HeldLease, ServiceError] = {}
        for one in held:
            try:
                one.renew(connection)
            except ServiceError as error:
                lost[one] = error if isinstance(error, Gone) else Gone(f"The data was given up: {error.message}")
        return lost
