"""Export and import caches as tar files, for runners that are thrown away after each job.

What comes in is not trusted further than it can be checked: only names of the store's own layout are read, and a file
is kept only if its bytes have the digest it is named for. What an outcome claims is believed, as that of the cache's
own folder is: import what your own runners exported.
"""

from __future__ import annotations

import contextlib
import errno
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.engine.cache.garbage import files
from pipeline.engine.cache.store import DISK, FORMAT, CacheStore, UnitOutcome, digest, settle
from pipeline.host.system import process

_AGAIN = "export it again with ./inv cache.export, and copy it whole"
_HEX = r"[0-9a-f]{64}"
_FOLDER = re.compile(rf"(layers|products)/({_HEX})/(disk\.qcow2|layer\.json|image\.[a-z0-9]{{1,8}})")
_FILE = re.compile(rf"(documents|outcomes)/({_HEX}(?:\.json)?)")
_SMALL = 16 << 20


def export_archive(store: CacheStore, keys: Iterable[str], target: Path) -> int:
    """Write the outcomes ``keys`` and all they need to ``target``, compressed if it ends in ``.gz``; their number.

    Sparse files stay sparse. Nobody else may read it: installed disks may hold secrets.
    Raises ``PipelineError`` when there is nothing to write.
    """
    outcomes = [outcome for key in dict.fromkeys(keys) if (outcome := store.find(key)) is not None]
    if not outcomes:
        raise PipelineError("there is nothing in the cache to export", hint="build the recipes first")
    names = ["FORMAT", *(str(path.relative_to(store.root)) for path in sorted(files(store, outcomes)))]
    names += [f"outcomes/{outcome.key}.json" for outcome in outcomes]
    packed = ["--gzip"] if target.suffix in (".gz", ".tgz") else []
    with atomic.new_file(target, mode=0o600) as temporary:
        # GNU tar, since Python's tarfile writes holes as zeros.
        process.run(
            ["tar", "--directory", store.root, "--create", "--sparse", *packed, "--file", temporary, "--files-from=-"],
            stdin="".join(f"{name}\n" for name in names).encode(),
            timeout=None,
        )
    return len(outcomes)


def import_archive(store: CacheStore, source: Path, *, progress: Progress = nothing) -> int:
    """Take over what ``export_archive`` wrote; return the number of outcomes.

    Raises ``PipelineError`` for anything else in the file; what was read before stays, since it was checked.
    """
    with _opened(source) as archive, _workdir(store) as folder:
        size = source.stat().st_size
        members: dict[str, Path] = {}
        for member in archive:
            if member.isdir():
                continue
            _take(archive, member, folder, members)
            progress.advance(min(member.offset_data, size), size)
        return _settle_all(store, folder, members)


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(source) as archive:
            yield archive
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # the store's disk is full; the file may be good
        # tarfile has a line for each compression that it tried.
        why = str(error).partition("\n")[0].rstrip(":")
        raise PipelineError(f"{source} is not a cache that was exported: {why}", hint=_AGAIN) from None


@contextlib.contextmanager
def _workdir(store: CacheStore) -> Iterator[Path]:
    """Provide a folder that is on the layers' file system and as closed as they are."""
    folder = atomic.temporary_name(store.layers / "import")
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _take(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, members: dict[str, Path]) -> None:
    """Write one file of the archive into ``folder``."""
    known = _FOLDER.fullmatch(member.name) or _FILE.fullmatch(member.name)
    opened = archive.extractfile(member) if member.isfile() else None
    if member.name == "FORMAT" and opened:
        found = opened.read(20).decode(errors="replace").strip()
        if found != FORMAT:
            raise PipelineError(
                f"the exported cache has format {found!r}, this version uses {FORMAT!r}",
                hint="export it with the version of the pipeline that imports it",
            )
        return
    if not known or opened is None or member.name in members:
        raise PipelineError(f"the exported cache has {member.name[:120]!r}, which does not belong there", hint=_AGAIN)
    target = folder / member.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as written:
        _copy(opened, written)
    members[member.name] = target


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    """Copy, leaving holes where there are only zeros."""
    zeros = bytes(1 << 20)
    while block := source.read(1 << 20):
        if block == zeros[: len(block)]:
            target.seek(len(block), 1)
        else:
            target.write(block)
    target.truncate()


def _settle_all(store: CacheStore, folder: Path, members: dict[str, Path]) -> int:
    """Move the files into the store, what is named before what names it."""
    for name, path in members.items():
        parts = name.split("/")
        if parts[-1] == "layer.json" or parts[0] == "outcomes":
            continue
        if digest(path).sha256 != parts[1]:
            raise PipelineError(
                f"the exported cache is damaged: {name} has other bytes than its name says", hint=_AGAIN
            )
        if parts[0] == "documents":
            atomic.write_bytes(store.documents / parts[1], path.read_bytes(), mode=0o444)
        else:
            path.chmod(0o400 if parts[-1] == DISK else 0o444)
            path.parent.chmod(0o700 if parts[-1] == DISK else 0o755)
            settle(path.parent, getattr(store, parts[0]) / parts[1], parts[-1])
    return sum(_commit(store, path) for name, path in members.items() if name.startswith("outcomes/"))


def _commit(store: CacheStore, path: Path) -> bool:
    if path.stat().st_size > _SMALL:
        raise PipelineError(f"the exported cache is damaged: {path.name} is too large", hint=_AGAIN)
    try:
        outcome = UnitOutcome.from_json(path.read_text())
    except (ValueError, TypeError, KeyError):
        raise PipelineError(f"the exported cache is damaged: {path.name} cannot be read", hint=_AGAIN) from None
    if outcome.key != path.stem:
        raise PipelineError(f"the exported cache is damaged: {path.name} is the outcome of another key", hint=_AGAIN)
    store.commit(outcome)
    return store.find(outcome.key) is not None
