"""Write large files back steadily.

Growing the page cache by a whole image costs more processor time than writing it, and one fsync(2) at the end stalls
for seconds. So each window of written bytes is handed to the disk at once (sync_file_range(2)), and the window before
it is waited for and dropped from the cache: writing becomes several times cheaper, and the final fsync finds
nothing left to do.
"""

from __future__ import annotations

import ctypes
import os

WINDOW = 8 << 20

_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4
_libc = ctypes.CDLL(None, use_errno=True)
_sync_file_range = getattr(_libc, "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


class WriteBack:
    """Follows the writes to one file descriptor, whose offsets only grow."""

    def __init__(self, descriptor: int, *, keep_cached: bool) -> None:
        self._descriptor = descriptor
        self._drop = not keep_cached
        self._dropped = self._started = 0

    def written(self, end: int) -> None:
        """Note that the file has been written up to ``end``. Raises ``OSError`` when an earlier window did not reach
        the disk.
        """
        if not self._drop or end - self._started < WINDOW:
            return
        self._sync(self._started, end - self._started, _WRITE)
        if self._started > self._dropped:
            length = self._started - self._dropped
            self._sync(self._dropped, length, _WAIT_BEFORE | _WRITE | _WAIT_AFTER)
            os.posix_fadvise(self._descriptor, self._dropped, length, os.POSIX_FADV_DONTNEED)
            self._dropped = self._started
        self._started = end

    def _sync(self, offset: int, length: int, flags: int) -> None:
        if _sync_file_range is not None and _sync_file_range(self._descriptor, offset, length, flags) == 0:
            return
        # Not on this file system (or C library): the plain way, which also reports a lost write.
        os.fdatasync(self._descriptor)
