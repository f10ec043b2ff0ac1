"""Write files and folders that appear whole or not at all.

A temporary name lies next to its target (rename(2) is atomic within one file system only) and carries the mark
of the process that makes it, so that ``sweep`` removes what a killed process left, and nothing else.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.base.owner import Owner

_PREFIX = ".partial."
_serial = itertools.count()


def temporary_name(target: Path) -> Path:
    """Return a name next to ``target`` that no other process or call uses, marked with its owner."""
    return target.with_name(f"{_PREFIX}{Owner.current().mark}.{next(_serial)}.{target.name}")


@contextlib.contextmanager
def new_file(target: Path, *, mode: int = 0o644) -> Iterator[Path]:
    """Yield a temporary path; when the block ends well, the file there becomes ``target``, on disk, at once.

    The block may write the path itself or hand it to a program. An existing target is replaced. On an
    exception nothing is left.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(target)
    # Writable until it is done, whatever it will be: only root may write to a file of mode 0444.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode | 0o200))
    try:
        yield temporary
        temporary.chmod(mode)
        fsync(temporary)
        temporary.replace(target)
        fsync(target.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def new_folder(target: Path, *, mode: int = 0o755) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``target`` when the block ends well.

    Raises ``FileExistsError`` (or ``OSError`` with ENOTEMPTY) when ``target`` exists and is not empty.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(target)
    temporary.mkdir(mode=mode)
    try:
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file() and not path.is_symlink():
                fsync(path)
        fsync(temporary)
        temporary.rename(target)
        fsync(target.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_text(target: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace ``target`` by ``text`` (UTF-8), atomically."""
    write_bytes(target, text.encode(), mode=mode)


def write_bytes(target: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace ``target`` by ``data``, atomically."""
    with new_file(target, mode=mode) as temporary:
        temporary.write_bytes(data)


def sweep(folder: Path) -> list[Path]:
    """Remove the temporary files and folders in ``folder`` whose owner is dead; return what was removed."""
    removed = []
    for path in folder.glob(f"{_PREFIX}*") if folder.is_dir() else ():
        owner = Owner.find(path.name)
        if owner is None or owner.is_alive():
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        removed.append(path)
    return removed


def fsync(path: Path) -> None:
    """Have the kernel write a file's bytes, or a folder's names, to the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
