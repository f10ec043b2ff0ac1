"""Name the file system of a guest that is full, when something could not be written."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import appliance_shell

_NO_SPACE = "No space left on device"
# What is reserved for root can be written; of btrfs's free space, that of its trees cannot, nor can what ext4 keeps for
# itself.
_LIST = r"""while read -r device place kind options rest; do
case "$place" in /sysroot|/sysroot/*) ;; *) continue;; esac
case "$options" in ro|ro,*) continue;; esac
case "$kind" in btrfs) free=%a;; *) free=%f;; esac
node=$(readlink -f "$device")
kept=$(cat "/sys/fs/ext4/${node##*/}/reserved_clusters" 2>/dev/null || echo 0)
set -- $(stat -f -c "%S %b $free %c %d" "$place")
left=$(($3 - kept)); [ $left -ge 0 ] || left=0
echo "$1 $2 $left $4 $5 $place"
done </proc/mounts"""
# A write of several blocks may fail before the last one is taken.
_NEARLY = 64 << 10


@dataclass(frozen=True)
class FileSystemSpace:
    """A mounted file system: where, its size and what is free in bytes, its files and how many more it can hold."""

    location: str
    size: int
    free: int
    files: int
    files_free: int

    @property
    def is_full(self) -> bool:
        """Whether next to nothing can be written; file systems without a table of files count none."""
        return self.free < min(_NEARLY, self.size // 16) or (self.files > 0 and self.files_free == 0)


def parsed(listing: bytes) -> list[FileSystemSpace]:
    """Return what stat(1) told of each file system; the kernel writes blanks in paths as ``\\040``."""
    found = []
    for line in listing.decode(errors="replace").splitlines():
        words = line.split(" ", 5)
        if len(words) == 6 and all(word.isdecimal() for word in words[:5]):
            block, blocks, free, files, files_free = (int(word) for word in words[:5])
            place = words[5].removeprefix("/sysroot").replace("\\040", " ") or "/"
            found.append(FileSystemSpace(place, block * blocks, block * free, files, files_free))
    return found


def mounted(handle: Any) -> list[FileSystemSpace]:
    """Return the space of what is mounted to be written to."""
    return parsed(appliance_shell.read(handle, _LIST))


def explained(handle: Any, error: Exception) -> PipelineError | None:
    """Return the error that names the full file system of the guest, if that is why ``error`` came."""
    words = [str(error), *(error.details if isinstance(error, PipelineError) else ())]
    # An appliance that has died says nothing more.
    with contextlib.suppress(RuntimeError, PipelineError, ValueError):
        full = blamed(words, mounted(handle))
        if full is not None:
            return _disk_full(full, error)
    return None


def blamed(words: Sequence[str], spaces: Sequence[FileSystemSpace]) -> FileSystemSpace | None:
    """Return the file system that is full, or, where the words of an error say that one is, the fullest."""
    fullest = min(spaces, key=lambda space: (not space.is_full, space.free), default=None)
    says_no_space = any(_NO_SPACE in text for text in words)
    return fullest if fullest is not None and (says_no_space or fullest.is_full) else None


def _disk_full(full: FileSystemSpace, error: Exception) -> PipelineError:
    what = error.message if isinstance(error, PipelineError) else (str(error).strip().splitlines() or ["it failed"])[0]
    files = ", and can hold no more files" if full.files and not full.files_free else ""
    free = f"{full.free >> 10} KiB of {full.size >> 20} MiB are free{files}"
    return PipelineError(
        f"{what}: the guest's file system at {full.location} is full: {free}",
        details=error.details if isinstance(error, PipelineError) else (),
        hint="raise disk.size (a root that is nearly full is grown into it first), or put less into it",
    )
