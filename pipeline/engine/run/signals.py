"""Handle Ctrl-C and its kin during a run: once asks for an orderly end, twice for an end at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class SignalHandler:
    """Catches signals in the main thread; elsewhere they are left to whoever has the main thread."""

    def __init__(self, stop: Callable[[], None], kill: Callable[[], None]) -> None:
        self._stop = stop
        self._kill = kill
        self._caught: list[int] = []

    def __bool__(self) -> bool:
        """Whether the run was told to end."""
        return bool(self._caught)

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Catch them while the block runs."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._note) for number in _NUMBERS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def pass_on(self) -> None:
        """Raise what the caught signal would have raised: ``KeyboardInterrupt`` or ``SystemExit``."""
        if signal.SIGINT in self._caught:
            raise KeyboardInterrupt
        if self._caught:
            raise SystemExit(128 + self._caught[0])

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._caught.append(number)
        if len(self._caught) == 1:
            self._stop()
        else:
            self._kill()
