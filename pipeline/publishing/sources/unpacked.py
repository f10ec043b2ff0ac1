"""Unpack a disk image from the compressed file or archive that it came in, for as long as it is being published."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.base.home import Home
from pipeline.base.progress import Progress, nothing
from pipeline.image.packing import unpack
from pipeline.publishing.cloud.ownership_marker import ImagePart

_ENDINGS = frozenset({".gz", ".xz", ".zst", ".bz2", ".zip", ".tar", ".tgz", ".ova"})
_RESERVE = 1 << 30  # bytes that stay free on the file system


@contextlib.contextmanager
def unpacked(
    home: Home, files: Mapping[ImagePart, Path], progress: Progress = nothing
) -> Iterator[tuple[Mapping[ImagePart, Path], unpack.UnpackedFile | None]]:
    """Provide the files with the disk unpacked while the block runs, and what was unpacked; nothing where nothing is
    packed.

    Bounded by the room there is. Raises ``PipelineError``.
    """
    disk = files.get(ImagePart.DISK)
    if disk is None or not disk.is_file() or unpack.packing_of_file(disk) is None:
        yield files, None
        return
    home.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unpacked-", dir=home.cache) as folder:
        name = disk.name.removesuffix(disk.suffix) if disk.suffix.lower() in _ENDINGS else disk.name
        target = Path(folder) / name
        room = max(0, shutil.disk_usage(folder).free - _RESERVE)
        found = unpack.unpack(disk, target, limit=room, progress=progress)
        yield {**files, ImagePart.DISK: target}, found
