"""A server on loopback for as long as a block lasts: scratch folder, free port, readiness, orderly stop."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.system import process

_STOP_SECONDS = 20
_FIRST_PORT = 12000


class NotInstalled(PipelineError):
    """A server's program is missing; fixtures turn it into a skip, or into a failure where all must run."""


def program(name: str, package: str, *, folders: Sequence[Path] = ()) -> Path:
    """The path of ``name``, from ``folders`` or the search path (with the sbin folders, which users often lack)."""
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise NotInstalled(f"the program {name} is not installed", hint=f"apt-get install {package}")
    return Path(found)


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A new folder that every user may pass through (pytest's own are closed to others), removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"pipeline-{name}-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now.

    It is none of those that the kernel gives to whoever connects: several processes start servers and clients at once,
    and one of them would now and then get the port before the server has it.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = _FIRST_PORT + secrets.randbelow(max(1000, lowest - _FIRST_PORT))  # some tests seed ``random``
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def listens(port: int) -> bool:
    """Whether something accepts connections on ``port``."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def as_nobody(*owned: Path) -> list[str]:
    """The words before a command that must not run as root; ``owned`` folders become the unprivileged user's.

    Empty when we are not root: then the command runs as the caller.
    """
    if os.geteuid() != 0:
        return []
    for folder in owned:
        shutil.chown(folder, "nobody", "nogroup")
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 60, pause: float = 0.05) -> None:
    """Wait until ``condition`` holds. Raises ``TimeoutError`` that names ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause)


@contextlib.contextmanager
def daemon(
    command: Sequence[str | Path],
    *,
    ready: Callable[[], bool],
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stop: signal.Signals = signal.SIGTERM,
    seconds: float = 60,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` in the foreground until the block ends; the block begins when ``ready`` says so.

    At the end the process gets ``stop`` and time to go; what is left of its group is then killed. It ends too when the
    tests are killed. Raises ``PipelineError`` with the end of ``log`` when it does not become ready within ``seconds``.
    """
    mortal = ["setpriv", "--pdeathsig=TERM", "--", *command]
    with log.open("ab") as output, process.started(mortal, log=output, env=env, cwd=cwd) as child:
        _await_ready(child, ready, log, seconds)
        try:
            yield child
        finally:
            _stop(child, stop)


def _await_ready(child: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if child.poll() is not None or time.monotonic() > deadline:
            why = f"ended with status {child.returncode}" if child.returncode is not None else f"not in {seconds:.0f} s"
            said = log.read_text(errors="replace").splitlines()[-30:]
            raise PipelineError(f"{child.args} did not become ready: {why}", details=said)  # type: ignore[str-bytes-safe]
        time.sleep(0.05)


def _stop(child: subprocess.Popen[bytes], stop: signal.Signals) -> None:
    if child.poll() is not None:
        return
    child.send_signal(stop)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_STOP_SECONDS)
    # Workers may outlive their parent; the group has its number.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
