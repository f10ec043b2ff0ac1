"""Cancel work from outside: at a deadline, or for a reason to give up."""

from __future__ import annotations

import threading
import time

from pipeline.imageservice.errors import Unavailable


class CancelToken:
    """What ends a piece of work early. Work that waits asks ``check`` at least every ``CHECK_SECONDS`` seconds."""

    CHECK_SECONDS = 0.5

    def __init__(self, seconds: float | None = None, *, parent: CancelToken | None = None) -> None:
        """``seconds`` until the work has to be done; what stops ``parent`` stops this, too."""
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self._parent = parent
        self._reason: BaseException | None = None
        self._stopped = threading.Event()

    def stop(self, reason: BaseException) -> None:
        """Give up; ``reason`` is what the work raises. The first reason counts."""
        if not self._stopped.is_set():
            self._reason = reason
            self._stopped.set()

    def check(self) -> None:
        """Raise the reason to give up, if there is one."""
        if self._parent is not None:
            self._parent.check()
        if self._stopped.is_set() and self._reason is not None:
            raise self._reason
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise Unavailable("The data took longer than the service allows")

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond a reason to give up, which is raised."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._stopped.wait(min(left, self.CHECK_SECONDS))
            self.check()
        self.check()
