"""What is being moved in this process, so that a stopping service can end it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from pipeline.imageservice.data.control import Control
from pipeline.imageservice.errors import Unavailable


class Stopping(Unavailable):
    """The service is stopping."""

    def __init__(self) -> None:
        super().__init__("The service is stopping")


class Running:
    """The transfers of a process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._controls: set[Control] = set()
        self._stopped = False

    @contextlib.contextmanager
    def listed(self, control: Control) -> Iterator[None]:
        """While the block runs, ``stop`` reaches ``control``. Raises ``Stopping`` once the service is."""
        with self._changed:
            if self._stopped:
                raise Stopping
            self._controls.add(control)
        try:
            yield
        finally:
            with self._changed:
                self._controls.discard(control)
                self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._controls)

    def stop(self) -> None:
        """End everything that runs, take nothing new."""
        with self._changed:
            self._stopped = True
            for control in self._controls:
                control.stop(Stopping())

    def wait(self, seconds: float) -> bool:
        """Whether everything has ended within ``seconds``."""
        until = time.monotonic() + seconds
        with self._changed:
            while self._controls and time.monotonic() < until:
                self._changed.wait(until - time.monotonic())
            return not self._controls


running = Running()
