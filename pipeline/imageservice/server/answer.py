"""Send answers so that a client that does not read them holds none of the threads for small requests.

What is whole in memory is kept until it is complete. A short answer then goes out at once, as far as the connection
takes it without waiting. A long one, and the rest of a short one whose client has not read those before it, is sent by
a thread for transfers, in a slot of the caller's project: it may be as slow as a download, and gives way like one.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pipeline.imageservice.cancellation.active_transfers import running
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.errors import ClientGone, ClientStalled
from pipeline.imageservice.data.slots.errors import NoSlot
from pipeline.imageservice.data.slots.slots import Slot
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.server.refusals import rendered
from pipeline.imageservice.server.sending import ClientWire

log = logging.getLogger("imageservice.server")

LONG_ANSWER = 64 << 10  # bytes of head and body from which on an answer is a long one
_PIECE = 256 << 10
_REQUEST_ID = re.compile(rb"\r\nx-openstack-request-id: *([^\r\n]+)", re.IGNORECASE)

HoldSlot = Callable[[CancelToken], AbstractContextManager[Slot]]


@dataclass
class AnsweredConnection:
    """Stands for a connection while one request of it is answered; what gunicorn asks of one."""

    sock: AnswerSocket
    client: Any
    server: Any


class AnswerSocket:
    """Stands for a connection's socket while a request is answered.

    What is sent goes out as on any socket, and its thread waits for the client; but after ``keep`` it is kept.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.answer: KeptAnswer | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def keep(self, hold_slot: HoldSlot | None) -> None:
        """Keep everything from now on. ``hold_slot``: see ``KeptAnswer``."""
        self.answer = KeptAnswer(self.connection, hold_slot)

    def sendall(self, data: bytes) -> None:
        """Send or keep."""
        if self.answer is None:
            self.connection.sendall(data)
        else:
            self.answer.add(data)


class KeptAnswer:
    """An answer as far as it has not gone out. ``hold_slot``: holds a slot for whoever gets it."""

    def __init__(self, connection: socket.socket, hold_slot: HoldSlot | None) -> None:
        self._socket, self._hold_slot = connection, hold_slot
        self._pieces: list[memoryview] = []
        self._begun = False

    def add(self, data: bytes) -> None:
        """Put ``data`` behind the rest."""
        if data:
            self._pieces.append(memoryview(data))

    @property
    def size(self) -> int:
        """How many bytes have not gone out."""
        return sum(map(len, self._pieces))

    def send_at_once(self) -> bool:
        """Send what the connection takes without waiting; whether that was all. Raises ``OSError`` for a broken one."""
        self._begun = True
        self._pieces = [memoryview(b"".join(self._pieces))]  # one packet where it can be one
        self._socket.settimeout(0)
        try:
            while self._pieces:
                self._step()
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return False
        return True

    def send(self, idle: float) -> bool:
        """Send the rest, and wait for the client; whether it has all gone out.

        The client is given up after ``idle`` seconds in which it takes nothing, or when its slot is for others.
        """
        token = CancelToken()
        try:
            with running.listed(token), self._held_slot(token):
                self._send(token, idle)
            return True
        except NoSlot as problem:
            log.info("a long answer was not sent: %s", problem)
            if not self._begun:
                self._refuse(problem)
        except (ServiceError, OSError) as problem:
            log.info("a long answer was not sent to its end: %s", problem)
        finally:
            self._pieces.clear()  # whoever still knows of the answer keeps no memory
        return False

    @contextlib.contextmanager
    def _held_slot(self, token: CancelToken) -> Iterator[None]:
        if self._hold_slot is None:
            yield
            return
        with self._hold_slot(token) as slot:
            wire = ClientWire(self._socket)
            slot.moved, slot.cut = wire.taken, wire.cut
            yield

    def _send(self, token: CancelToken, idle: float) -> None:
        self._begun = True
        self._socket.settimeout(min(CancelToken.CHECK_SECONDS, idle))
        moved = time.monotonic()
        while self._pieces:
            token.check()
            try:
                self._step()
                moved = time.monotonic()
            except TimeoutError:
                if time.monotonic() - moved >= idle:
                    raise ClientStalled(f"The client took no data for {idle:.0f} seconds") from None
            except ConnectionError:
                token.check()  # it was cut off for that reason
                raise ClientGone("The client closed the connection in the middle of the answer") from None

    def _step(self) -> None:
        """Send one piece. TLS wants to be given the same one again after it could not send it."""
        first = self._pieces[0]
        count = self._socket.send(first[:_PIECE])
        if count < len(first):
            self._pieces[0] = first[count:]
        else:
            del self._pieces[0]

    def _refuse(self, problem: NoSlot) -> None:
        """Answer otherwise, where nothing has gone out yet and nothing was done for the request."""
        found = _REQUEST_ID.search(bytes(self._pieces[0]))
        answer = rendered(
            HTTPStatus.SERVICE_UNAVAILABLE,
            problem.message,
            request_id=found[1].decode("latin-1") if found else None,
            headers={"Retry-After": str(problem.retry_after)},
        )
        send_if_it_goes(self._socket, answer)


class UnsentAnswer:
    """The request has been answered, and the client is still to get (the rest of) the answer."""

    def __init__(self, answer: KeptAnswer, keep_alive: Any) -> None:
        self._answer, self.keep_alive = answer, keep_alive

    def send(self, idle: float) -> bool:
        """Send it; whether the connection can be used for a next request."""
        return self._answer.send(idle) and bool(self.keep_alive)


def send_if_it_goes(connection: socket.socket, answer: bytes) -> None:
    """Send the last words on a connection without waiting for the client: what it has not read may be in their way."""
    with contextlib.suppress(OSError):
        connection.settimeout(0)
        connection.send(answer)
