"""Ask again what did not answer well, so often and after such pauses: the one retry policy.

Whoever asks the network has a ``RetryPolicy`` and lets it count and wait. What is worth another attempt only the caller
can tell: a refused connection is, a wrong password is not.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

T = TypeVar("T")

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses of HTTP that may be others in a minute
_LARGEST_POWER = 60


@dataclass(frozen=True)
class RetryPolicy:
    """``attempts`` in all, with a pause that doubles from ``first`` to ``longest`` seconds between them.

    Each pause varies by the share ``jitter``, so that those who failed together do not return together. A server may
    ask for a longer one (``Retry-After``), of at most ``heed`` seconds.
    """

    attempts: int = 5
    first: float = 0.5
    longest: float = 30.0
    heed: float = 300.0
    jitter: float = 0.25
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def pause(self, attempt: int, asked: float = 0.0) -> float:
        """Return seconds to wait before an attempt, counted from 1: none before the first one.

        ``asked``: for how many seconds the server wants to be left alone; nobody returns earlier.
        """
        if attempt <= 1:
            return 0.0
        growing = min(self.longest, self.first * 2.0 ** min(attempt - 2, _LARGEST_POWER))
        own = growing * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311  (spreads load, guards nothing)
        return max(own, self.granted(asked))

    def granted(self, asked: float) -> float:
        """Return seconds for which a server that asks to be left alone is: up to ``heed``, and not for all the same."""
        return min(asked, self.heed) * random.uniform(1.0, 1.1)  # noqa: S311

    def tries(self) -> Iterator[int]:
        """Count the attempts from 1, sleeping before each but the first."""
        for attempt in range(1, self.attempts + 1):
            if attempt > 1:
                self.sleep(self.pause(attempt))
            yield attempt

    def call(self, work: Callable[[], T], passing: Callable[[Exception], bool]) -> T:
        """Return what ``work`` returns; do it again after an error that ``passing`` says may pass by itself.

        Raises the last attempt's error, and at once one that does not pass.
        """
        attempt = 1
        while True:
            try:
                return work()
            except Exception as error:
                if attempt >= self.attempts or not passing(error):
                    raise
                attempt += 1
                self.sleep(self.pause(attempt, asked_by(error)))


def asked_by(error: BaseException) -> float:
    """Return seconds for which the server wants to be left alone, as an error tells it.

    It says so itself (``retry_after``), or holds the server's answer (``response``, as those of ``requests`` do).
    """
    own = getattr(error, "retry_after", None)
    if own is not None:
        return float(own)
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    return retry_after(headers.get("Retry-After"))


def retry_after(text: str | None) -> float:
    """Return the seconds that a ``Retry-After`` header (RFC 9110, 10.2.3) asks for: a number or a date; 0 if it is
    neither.
    """
    text = (text or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
        return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return 0.0
