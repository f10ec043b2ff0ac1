"""Tell how fast something moved over the last while, from looks at it now and then."""

from __future__ import annotations

from collections import deque

_LOOKS = 12


class RecentRate:
    """The rate over the last ``seconds``, of a count that was 0 at the moment ``begun``."""

    def __init__(self, seconds: float, begun: float) -> None:
        self._seconds = seconds
        self._seen: deque[tuple[float, int]] = deque([(begun, 0)])

    def look(self, now: float, count: int) -> float:
        """Return the rate now that ``count`` bytes have moved; infinite before so much time has passed."""
        if now - self._seen[-1][0] >= self._seconds / _LOOKS:
            self._seen.append((now, count))
        while len(self._seen) > 1 and self._seen[1][0] <= now - self._seconds:
            self._seen.popleft()
        moment, before = self._seen[0]
        return (count - before) / (now - moment) if now - moment >= self._seconds else float("inf")
