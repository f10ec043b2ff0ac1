"""Notice when a guest has stopped getting anywhere: nothing that it does moves any more, and for long enough.

Watched together: bytes to and from its disks, bytes over its network, bytes on its serial line, its screen. One that
moves is enough; an installer that only downloads, or only draws, is not stuck. What moves without getting anywhere
does not count: a cursor that blinks, a line that is said over and over, the trickle of a guest asking for an address.
"""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

# Less than this between two samples is a heartbeat, not work. In bytes.
_DISK_TRICKLE = 64 << 10
_NETWORK_TRICKLE = 8 << 10
# So many pictures and lines are remembered: what comes back among them is not new.
_PICTURES = 16
_LINES = 64
_NUMBERS = re.compile(r"[0-9a-f]*\d[0-9a-f]*", re.IGNORECASE)


@dataclass(frozen=True)
class StallPolicy:
    """How long nothing may move, in seconds. The engine decides it; ``None`` means never to give up."""

    timeout: float | None = 900.0


@dataclass(frozen=True)
class Signals:
    """What a guest has done since its start, as counters; the screen as a digest (empty: it has none)."""

    disk: int = 0
    network: int = 0
    serial: int = 0
    screen: str = ""
    processor: float = 0.0


@dataclass
class StallWatch:
    """Takes samples and says when nothing has moved for too long."""

    policy: StallPolicy
    _last: Signals | None = None
    _moved: dict[str, float] = field(default_factory=dict)
    _pictures: deque[str] = field(default_factory=lambda: deque(maxlen=_PICTURES))
    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES))
    _samples: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=120))

    def note(self, signals: Signals, console_text: str = "", *, now: float | None = None) -> None:
        """Take a sample. ``console_text`` is what came over the serial line since the last one."""
        now = time.monotonic() if now is None else now
        self._samples.append({"at": round(now, 1), **asdict(signals)})
        if self._last is None:
            self._moved = dict.fromkeys(("disk", "network", "serial", "screen"), now)
        else:
            for name in self._movements(self._last, signals, console_text):
                self._moved[name] = now
        self._remember(signals, console_text)
        self._last = signals

    def stalled(self, *, now: float | None = None) -> str | None:
        """Return why the guest is taken for stuck, in words, or ``None``."""
        now = time.monotonic() if now is None else now
        if self.policy.timeout is None or not self._moved:
            return None
        quiet = {name: now - moved for name, moved in self._moved.items()}
        if min(quiet.values()) < self.policy.timeout:
            return None
        shown = ", ".join(f"{name} for {seconds:.0f} s" for name, seconds in quiet.items())
        return f"nothing has moved: {shown}"

    def as_dict(self) -> dict[str, Any]:
        """Return the last samples, and when each signal moved, for the evidence."""
        return {"patience": self.policy.timeout, "moved": dict(self._moved), "samples": list(self._samples)}

    def _movements(self, before: Signals, after: Signals, console_text: str) -> list[str]:
        moved = []
        if after.disk - before.disk > _DISK_TRICKLE:
            moved.append("disk")
        if after.network - before.network > _NETWORK_TRICKLE:
            moved.append("network")
        if any(line not in self._lines for line in _normalised_lines(console_text)):
            moved.append("serial")
        if after.screen and after.screen not in self._pictures:
            moved.append("screen")
        return moved

    def _remember(self, signals: Signals, console_text: str) -> None:
        self._lines.extend(line for line in _normalised_lines(console_text) if line not in self._lines)
        if signals.screen and signals.screen not in self._pictures:
            self._pictures.append(signals.screen)


def _normalised_lines(console_text: str) -> list[str]:
    """Return the lines of what was said, numbers and times taken out: "retry 7" is "retry 8" again."""
    return [_NUMBERS.sub("#", line).strip() for line in console_text.splitlines() if line.strip()]
