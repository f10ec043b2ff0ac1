"""Work on blocks in threads next to the one that reads them.

A consumer takes blocks in order from a short queue. It works while the reader already fetches the next block; when it
falls behind, the reader waits: memory stays bounded by ``DEPTH`` blocks.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.buffers import Block, Zeros

AnyBlock = Block | Zeros
DEPTH = 4
_LAST_WORDS = 5.0  # seconds that a consumer stuck in a store gets before it is left behind


class Consumer:
    """One consumer and, from the first queued block on, its thread.

    ``error`` is what the consumer raised; from then on blocks pass by unseen.
    """

    def __init__(self, work: Callable[[AnyBlock], object], name: str) -> None:
        self._work = work
        self._name = name
        self.error: Exception | None = None
        self._blocks: deque[AnyBlock] = deque()
        self._changed = threading.Condition()
        self._running = False
        self._closed = False
        self._afterwards: Callable[[], object] | None = None

    def put(self, block: AnyBlock, cancel_token: CancelToken, *, timeout: float | None = None) -> bool:
        """Queue a block; false when there is no place for it within ``timeout`` seconds.

        Raises what ``cancel_token`` raises while waiting.
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while len(self._blocks) >= DEPTH and self.error is None:
                if not self._changed.wait(CancelToken.CHECK_SECONDS):
                    cancel_token.check()
                if until is not None and len(self._blocks) >= DEPTH and time.monotonic() >= until:
                    return False
            if self.error is not None:
                return True
            block.hold()
            self._blocks.append(block)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
            self._changed.notify_all()
            return True

    def do(self, block: AnyBlock) -> None:
        """Work on a block at once, in the caller's thread: for streams too short to be worth a thread."""
        if self.error is None:
            self._attempt(block)

    def drain(self, cancel_token: CancelToken) -> None:
        """Wait until everything queued has been worked on. Raises what ``cancel_token`` raises meanwhile."""
        with self._changed:
            self._close()
            while self._running:
                if not self._changed.wait(CancelToken.CHECK_SECONDS):
                    cancel_token.check()

    def cancel(self, afterwards: Callable[[], object]) -> None:
        """Forget what is queued, and call ``afterwards`` when the consumer is done.

        A consumer that is stuck is left behind after a few seconds; its thread calls ``afterwards`` when it comes back.
        """
        with self._changed:
            self._forget()
            self._close()
            until = time.monotonic() + _LAST_WORDS
            while self._running and time.monotonic() < until:
                self._changed.wait(CancelToken.CHECK_SECONDS)
            if self._running:
                self._afterwards = afterwards
                return
        afterwards()

    def _run(self) -> None:
        while (block := self._next()) is not None:
            try:
                self._attempt(block)
            finally:
                block.release()
        with self._changed:
            afterwards = self._afterwards
            self._running = False
            self._changed.notify_all()
        if afterwards is not None:
            afterwards()

    def _next(self) -> AnyBlock | None:
        with self._changed:
            while not self._blocks and not self._closed:
                self._changed.wait()
            if not self._blocks:
                return None
            block = self._blocks.popleft()
            self._changed.notify_all()
            return block

    def _attempt(self, block: AnyBlock) -> None:
        try:
            self._work(block)
        except Exception as error:  # the reader raises it, or drops the consumer
            with self._changed:
                self.error = error
                self._forget()
                self._close()

    def _forget(self) -> None:
        while self._blocks:
            self._blocks.pop().release()
        self._changed.notify_all()

    def _close(self) -> None:
        self._closed = True
        self._changed.notify_all()
