"""Read what a guest says on its serial line, from the file QEMU writes, while it grows."""

from __future__ import annotations

import time
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.diagnosis import boot_failure

_KEPT = 256 << 10
_LIMIT = 64 << 20


class Console:
    """A growing log. ``poll`` takes in what is new; ``text`` is its last part, ``silence`` how long it said nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = ""
        self._offset = 0
        self._fresh = ""
        self._changed = time.monotonic()

    def poll(self) -> bool:
        """Read what was added; whether there was anything. Raises ``PipelineError`` when a guest floods it."""
        try:
            with self.path.open("rb") as reader:
                reader.seek(self._offset)
                added = reader.read(_KEPT)
        except FileNotFoundError:
            return False
        if not added:
            return False
        self._offset += len(added)
        self._changed = time.monotonic()
        added_text = added.decode(errors="replace")
        self.text = (self.text + added_text)[-_KEPT:]
        self._fresh = (self._fresh + added_text)[-_KEPT:]
        if self._offset > _LIMIT:
            raise PipelineError(f"the guest wrote more than {_LIMIT >> 20} MiB to its serial line")
        return True

    @property
    def size(self) -> int:
        """How many bytes were read so far."""
        return self._offset

    def take(self) -> str:
        """Return what was said since the last call."""
        fresh, self._fresh = self._fresh, ""
        return fresh

    @property
    def silence(self) -> float:
        """Seconds since the last byte, or since the start."""
        return time.monotonic() - self._changed

    def tail(self, count: int = 20) -> list[str]:
        """Return the last lines, without control sequences."""
        return [line for line in boot_failure.clean(self.text).splitlines() if line.strip()][-count:]
