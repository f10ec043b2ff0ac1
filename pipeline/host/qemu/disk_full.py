"""Say what to do when a disk has become full, and watch for guests that QEMU stopped for that reason.

QEMU stops a guest whose disk cannot grow, until somebody makes room and lets it go on (``werror=enospc``). That is
better than an error that the guest might not pass on; but whoever waits for the guest would wait for ever.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.qemu.qmp import GuestMonitor, QmpMonitor

_LOOK_EVERY = 1.0  # seconds
_NOTHING = 1 << 20  # bytes; what still fits into that helps nobody
MESSAGE = "no space left"
KERNEL_TEXT = "No space left on device"  # by every program


def is_full(path: Path) -> bool:
    """Return whether next to nothing can be written any more to the file system of ``path``, or of
    its nearest parent.
    """
    system = os.statvfs(next(folder for folder in (path, *path.parents) if folder.exists()))
    free = system.f_bfree if os.geteuid() == 0 else system.f_bavail
    return free * system.f_frsize < _NOTHING or (system.f_files > 0 and system.f_ffree == 0)


def disk_full_error(path: Path, what: str, details: Sequence[str] = ()) -> PipelineError:
    """Return the error for ``what`` that could not be done, since the file system of ``path`` is full."""
    location = path.absolute()
    disk = next(folder for folder in (location, *location.parents) if folder.is_mount())
    hint = (
        "free some there (./inv cache.gc removes what old builds left), or set PIPELINE_CACHE (TMPDIR) to another disk"
    )
    return PipelineError(f"{MESSAGE} on {disk}: {what}", details=details, hint=hint)


def is_stopped(monitor: GuestMonitor) -> bool:
    """Return whether QEMU has stopped its guest, since what it wrote to a disk found no room."""
    event = monitor.find_event(("BLOCK_IO_ERROR",))
    return event is not None and event.data.get("action") == "stop"


class DiskFullWatch:
    """Ends a QEMU that has stopped for want of room, until the block ends. ``found`` says that it has."""

    def __init__(self) -> None:
        self.found = False
        self._stack = contextlib.ExitStack()
        self._over = threading.Event()

    @property
    def option(self) -> str:
        """What QEMU's option ``-qmp`` has to be."""
        return f"unix:{self._socket},server=on,wait=off"

    @property
    def _socket(self) -> Path:
        return Path(self._folder.name) / "qmp"

    def begin(self) -> None:
        """QEMU has been started."""
        connection = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        connection.connect(str(self._socket))
        # Not needed any more; so nothing stays when we are killed.
        self._folder.cleanup()
        monitor = QmpMonitor(connection, "appliance")
        self._stack.callback(monitor.close)
        thread = threading.Thread(target=self._watch, args=[monitor], name="room-watch", daemon=True)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(self._over.set)

    def __enter__(self) -> DiskFullWatch:
        self._folder = tempfile.TemporaryDirectory(prefix="qmp-")
        self._stack.enter_context(self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _watch(self, monitor: QmpMonitor) -> None:
        while not self._over.wait(_LOOK_EVERY):
            if is_stopped(monitor):
                self.found = True
                monitor.quit()
                return
