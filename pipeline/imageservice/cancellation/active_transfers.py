"""Register what is being moved in this process, so that a stopping service can end it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.errors import Unavailable


class Stopping(Unavailable):
    """The service is stopping."""

    def __init__(self) -> None:
        super().__init__("The service is stopping")


class ActiveTransfers:
    """The transfers of a process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._controls: set[CancelToken] = set()
        self._stopped = False

    @contextlib.contextmanager
    def listed(self, cancel_token: CancelToken) -> Iterator[None]:
        """List a transfer while the block runs, so that ``stop`` reaches ``cancel_token``. Raises ``Stopping`` once
        the service is.
        """
        with self._changed:
            if self._stopped:
                raise Stopping
            self._controls.add(cancel_token)
        try:
            yield
        finally:
            with self._changed:
                self._controls.discard(cancel_token)
                self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._controls)

    def stop(self) -> None:
        """End everything that runs, take nothing new."""
        with self._changed:
            self._stopped = True
            for cancel_token in self._controls:
                cancel_token.stop(Stopping())

    def wait(self, seconds: float) -> bool:
        """Wait up to ``seconds``; return whether everything has ended."""
        until = time.monotonic() + seconds
        with self._changed:
            while self._controls and time.monotonic() < until:
                self._changed.wait(until - time.monotonic())
            return not self._controls


running = ActiveTransfers()
