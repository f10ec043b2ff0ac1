"""Read files that only their owner may read, and hold them to it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from pipeline.base.errors import PipelineError

_MAX_BYTES = 1 << 20


def read(path: Path, *, what: str) -> bytes:
    """Return the bytes of a file that is the caller's and that nobody else may read; ``PipelineError`` when it is not
    so.

    The opened file itself is examined, not its name, so that nobody can exchange it in between.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise PipelineError(f"{what} {path} does not exist") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PipelineError(f"{what} {path} is a symbolic link", hint="name the file itself") from None
        raise PipelineError(f"{what} {path} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise PipelineError(f"{what} {path} is not a plain file")
        if facts.st_uid != os.geteuid():
            raise PipelineError(f"{what} {path} belongs to another user", hint=f"chown it to uid {os.geteuid()}")
        if facts.st_mode & 0o077:
            raise PipelineError(
                f"{what} {path} can be read by others (mode {stat.S_IMODE(facts.st_mode):04o})",
                hint=f"chmod 600 {path}; if others had access to this machine, make a new one",
            )
        return file.read(_MAX_BYTES)


def require_private_folder(path: Path) -> None:
    """Make ``path`` (mode 0700) or raise ``PipelineError`` when it is open to others."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = path.stat()
    if facts.st_uid == os.geteuid() and not facts.st_mode & 0o077:
        return
    raise PipelineError(
        f"the folder {path} is open to others (mode {stat.S_IMODE(facts.st_mode):04o}, uid {facts.st_uid})",
        hint=f"chmod 700 {path}; it must belong to uid {os.geteuid()}",
    )
