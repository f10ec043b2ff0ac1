"""Talk to a guest's monitor: a small synchronous face on ``qemu.qmp``, each wait bounded.

The protocol runs in a thread of its own, so that events are noted while nobody waits for them. One socket pair connects
us to QEMU: there is no path to it, and it closes when either side dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections import deque
from collections.abc import Collection, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError

from pipeline.base.errors import PipelineError

_KEPT_EVENTS = 200
_TIMEOUT = 60.0
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class QmpEvent:
    """Something QEMU reported. ``time`` is seconds since the epoch, by QEMU's clock."""

    name: str
    data: Mapping[str, Any]
    time: float


class MonitorError(PipelineError):
    """QEMU refused a command, or does not answer any more."""


class GuestMonitor(Protocol):
    """A guest's monitor, however it is reached."""

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = _TIMEOUT) -> Any:
        """Have QEMU carry out a command; return its answer. Raises ``MonitorError``."""

    @property
    def events(self) -> list[QmpEvent]:
        """The last events, oldest first."""

    def find_event(self, names: Collection[str]) -> QmpEvent | None:
        """Return the newest event of one of these names, if there was one."""

    def screenshot(self, target: Path) -> None:
        """Write the guest's screen to ``target`` as PNG."""

    def power_down(self) -> None:
        """Press the guest's power button (ACPI)."""

    def quit(self) -> None:
        """End QEMU at once."""


class QmpMonitor:
    """A connection to one running QEMU."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        self._client = QMPClient(name)
        self._events: deque[QmpEvent] = deque(maxlen=_KEPT_EVENTS)
        self._changed = threading.Condition()
        self._fd_set = 1000
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"qmp-{name}", daemon=True)
        self._thread.start()
        try:
            self._wait(self._connect(connection), _TIMEOUT)
        except BaseException:
            self.close()
            raise

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = _TIMEOUT) -> Any:
        """Have QEMU carry out a command; return its answer. Raises ``MonitorError``."""
        return self._wait(self._client.execute(command, dict(arguments or {})), timeout, command)

    @property
    def events(self) -> list[QmpEvent]:
        """The last events, oldest first."""
        with self._changed:
            return list(self._events)

    def find_event(self, names: Collection[str]) -> QmpEvent | None:
        """Return the newest event of one of these names, if there was one."""
        return next((event for event in reversed(self.events) if event.name in names), None)

    def screenshot(self, target: Path) -> None:
        """Write the guest's screen to ``target`` as PNG. QEMU gets the open file, since it may reach no path."""
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._fd_set += 1
        arguments = {"fdset-id": self._fd_set}
        try:
            self._wait(self._send(descriptor), _TIMEOUT)
            self.execute("add-fd", arguments)
            self.execute("screendump", {"filename": f"/dev/fdset/{self._fd_set}", "format": "png"})
        except MonitorError:
            target.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
            with contextlib.suppress(MonitorError):
                self.execute("remove-fd", arguments)

    def power_down(self) -> None:
        """Press the guest's power button (ACPI)."""
        self.execute("system_powerdown")

    def quit(self) -> None:
        """End QEMU at once."""
        with contextlib.suppress(MonitorError):
            self.execute("quit", timeout=5)

    def close(self) -> None:
        """Leave the connection; harmless when QEMU has ended."""
        if not self._loop.is_running():
            return
        with contextlib.suppress(QMPError, MonitorError, EOFError, OSError):
            self._wait(self._client.disconnect(), 5)
        with contextlib.suppress(MonitorError):
            self._wait(self._stop_noting(), 5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()

    async def _connect(self, connection: socket.socket) -> None:
        listener = EventListener()
        self._client.register_listener(listener)
        self._noting = asyncio.ensure_future(self._note(listener))
        await self._client.connect(connection)

    async def _stop_noting(self) -> None:
        self._noting.cancel()
        await asyncio.wait([self._noting])

    async def _note(self, listener: EventListener) -> None:
        async for message in listener:
            fields: dict[str, Any] = dict(message)
            stamp = fields.get("timestamp", {})
            time_of_day = stamp.get("seconds", 0) + stamp.get("microseconds", 0) / 1e6
            event = QmpEvent(fields["event"], fields.get("data", {}), time_of_day)
            with self._changed:
                self._events.append(event)
                self._changed.notify_all()

    async def _send(self, descriptor: int) -> None:
        self._client.send_fd_scm(descriptor)

    def _wait(self, work: Coroutine[Any, Any, _Result], timeout: float, what: str = "the connection") -> _Result:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise MonitorError(f"QEMU did not answer {what} within {timeout:.0f} s") from None
        except ExecuteError as error:
            raise MonitorError(f"QEMU refused {what}: {error}") from None
        except (QMPError, EOFError, OSError) as error:
            raise MonitorError(f"QEMU ended before it answered {what}: {error}") from None
