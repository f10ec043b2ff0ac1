"""Run a program: the one way to do it.

Fixed locale, standard input closed, a curated environment, a deadline, output kept in the caller's log. A failure
shows the command so that it can be pasted into a shell, with secrets never on a command line to begin with.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.base.errors import PipelineError

# What a child may see of our environment; everything else (tokens, passphrases) stays with us.
_KEPT = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "LIBGUESTFS_BACKEND",
    "LIBGUESTFS_BACKEND_SETTINGS",
    "LIBGUESTFS_CACHEDIR",
    "PIPELINE_OWNER",
)
_TAIL = 20


@dataclass(frozen=True)
class Finished:
    """What a program left: exit status, standard output and standard error (empty when they went to a log)."""

    status: int
    stdout: str
    stderr: str


class ProcessFailed(PipelineError):
    """A program ended with a status other than 0, or not in time."""

    def __init__(
        self, command: Sequence[str], reason: str, output: str, *, hint: str | None = None, status: int | None = None
    ) -> None:
        tail = [line for line in output.splitlines() if line.strip()][-_TAIL:]
        super().__init__(f"{command[0]} {reason}", hint=hint, details=[f"$ {shlex.join(command)}", *tail])
        self.status = status


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment children get: a short list from ours, the C.UTF-8 locale, and ``extra``."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # Where an ordinary user's shell does not look: mke2fs, sfdisk and their like.
    kept["PATH"] = f"{kept.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return {**kept, "LC_ALL": "C.UTF-8", "TZ": "UTC", **(extra or {})}


def run(
    command: Sequence[str | Path],
    *,
    timeout: float | None = 600,
    log: IO[bytes] | None = None,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
    pass_fds: Sequence[int] = (),
    hint: str | None = None,
) -> Finished:
    """Run ``command`` to its end and return what it printed.

    ``timeout`` is in seconds; when it passes, the program and its children are killed. With ``log``, both outputs
    go there instead of into the result. Raises ``ProcessFailed`` on a status other than 0 unless ``check`` is
    false, always on a passed deadline, and ``PipelineError`` when the program is not installed.
    """
    words = [str(word) for word in command]
    start = log.tell() if log is not None and log.seekable() else 0
    with _started(words, log, stdin is not None, env, cwd, pass_fds) as child:
        try:
            out, err = child.communicate(stdin, timeout)
        except subprocess.TimeoutExpired as expired:
            _kill_group(child)
            output = ((expired.stdout or b"") + (expired.stderr or b"")).decode(errors="replace") + _since(log, start)
            raise ProcessFailed(words, f"did not end within {timeout:.0f} s", output, hint=hint) from None
    finished = Finished(child.returncode, (out or b"").decode(errors="replace"), (err or b"").decode(errors="replace"))
    if check and finished.status != 0:
        output = finished.stdout + finished.stderr + _since(log, start)
        raise ProcessFailed(words, _ending(finished.status), output, hint=hint, status=finished.status)
    return finished


@contextlib.contextmanager
def started(
    command: Sequence[str | Path],
    *,
    log: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program that runs while the block does; it and its children are killed when the block ends."""
    with _started([str(word) for word in command], log, False, env, cwd, pass_fds) as child:
        yield child


@contextlib.contextmanager
def _started(
    words: list[str],
    log: IO[bytes] | None,
    fed: bool,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    pass_fds: Sequence[int],
) -> Iterator[subprocess.Popen[bytes]]:
    output = subprocess.PIPE if log is None else log
    try:
        child = subprocess.Popen(
            words,
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE if log is None else subprocess.STDOUT,
            env=environment(env),
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise PipelineError(
            f"the program {words[0]} is not installed", hint="./inv doctor says which package has it"
        ) from None
    except PermissionError:
        raise PipelineError(f"the program {words[0]} may not be run by this user") from None
    try:
        yield child
    finally:
        if child.poll() is None:
            _kill_group(child)
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                stream.close()


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _since(log: IO[bytes] | None, start: int) -> str:
    """Return what was added to ``log``'s file since ``start``, its last 16 KiB at the most."""
    if log is None or not isinstance(log.name, str | Path):
        return ""
    with Path(log.name).open("rb") as reader:
        end = reader.seek(0, os.SEEK_END)
        reader.seek(max(start, end - (16 << 10)))
        return reader.read().decode(errors="replace")


def _ending(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"failed with status {status}"
