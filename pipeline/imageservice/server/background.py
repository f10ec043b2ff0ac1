"""Run the service in the background: start it and wait until it answers, show how it is, stop it."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT
from pipeline.base.owner import Owner
from pipeline.host.system import process
from pipeline.imageservice.settings import Settings

_START_SECONDS = 60
_STOP_MARGIN = 60
_LARGEST_LOG = 16 << 20
_TAIL = 20
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True)
class ServiceStatus:
    """How the service is. ``pid`` of its parent process, ``None`` when it doesn't run; ``answers``: to requests."""

    pid: int | None
    answers: bool
    address: str
    log: Path


def status(settings: Settings) -> ServiceStatus:
    """Look at the service that the settings describe."""
    owner = _owner(settings)
    return ServiceStatus(owner.pid if owner else None, _answers(settings), _url(settings), log_file(settings))


def start(settings: Settings, file: Path | None) -> ServiceStatus:
    """Start the service and wait until it answers. ``file``: the settings file, if not the default one.

    Returns at once when it runs already. Raises ``PipelineError`` with the end of the log when it does not come up.
    """
    if _owner(settings) is None:
        log = log_file(settings)
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _LARGEST_LOG:
            log.replace(log.with_suffix(".log.1"))
        begin = log.stat().st_size if log.exists() else 0
        words = [sys.executable, "-m", "pipeline.imageservice.serve"]
        pid = _detach([*words, *(["--settings", str(file)] if file else [])], log)
        _await_answer(settings, pid, log, begin)
    return status(settings)


def stop(settings: Settings, *, at_once: bool = False, waiting: Callable[[], None] = lambda: None) -> bool:
    """Stop the service and wait for its end; whether it ran. Running uploads go on, unless ``at_once``.

    ``waiting`` is called every second. Raises ``PipelineError`` when it does not end in time.
    """
    owner = _owner(settings)
    if owner is None:
        return False
    os.kill(owner.pid, signal.SIGINT if at_once else signal.SIGTERM)
    seconds = _STOP_MARGIN + (0 if at_once else settings.server.stop_timeout)
    until = time.monotonic() + seconds
    reported_at = time.monotonic()
    while owner.is_alive():
        if time.monotonic() > until:
            raise PipelineError(
                f"the image service (process {owner.pid}) did not end within {seconds:.0f} s",
                hint=f"see {log_file(settings)}, then kill {owner.pid}",
            )
        if time.monotonic() - reported_at > 1:
            reported_at = time.monotonic()
            waiting()
        time.sleep(0.05)
    return True


def log_file(settings: Settings) -> Path:
    """Return where a service in the background writes what it has to say."""
    return settings.folder / "service.log"


@contextlib.contextmanager
def noted(settings: Settings) -> Iterator[None]:
    """Note, while the block runs, that this process is the one that ``status`` and ``stop`` find."""
    file = _pid_file(settings)
    atomic.write_text(file, Owner.current().mark + "\n", mode=0o600)
    try:
        yield
    finally:
        if Owner.find(_read(file)) == Owner.current():
            file.unlink(missing_ok=True)


def _pid_file(settings: Settings) -> Path:
    return settings.folder / "service.pid"


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _owner(settings: Settings) -> Owner | None:
    owner = Owner.find(_read(_pid_file(settings)))
    return owner if owner is not None and owner.is_alive() else None


def _detach(words: list[str], log: Path) -> int:
    """Run a program that outlives us, in a session of its own, with its output in ``log``; its process id."""
    kept = {name: os.environ[name] for name in ("PIPELINE_HOME", "PIPELINE_CACHE") if name in os.environ}
    environment = process.environment(kept)
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        os.chdir(CHECKOUT)
        nothing = os.open(os.devnull, os.O_RDONLY)
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for number, target in enumerate((nothing, output, output)):
            os.dup2(target, number)
        os.closerange(3, 4096)
        os.execve(words[0], words, environment)  # noqa: S606 - no shell is wanted
    finally:
        os._exit(127)


def _await_answer(settings: Settings, pid: int, log: Path, begin: int) -> None:
    until = time.monotonic() + _START_SECONDS
    while not (_answers(settings) and _owner(settings) is not None):
        ended, ending = os.waitpid(pid, os.WNOHANG)
        if not ended and time.monotonic() < until:
            time.sleep(0.05)
            continue
        why = f"ended with status {os.waitstatus_to_exitcode(ending)}" if ended else "does not answer"
        if not ended:
            os.kill(pid, signal.SIGTERM)
        last_lines = _read(log)[begin:].splitlines()[-_TAIL:]
        raise PipelineError(f"the image service {why}", details=last_lines, hint=f"the whole log is {log}")


def _answers(settings: Settings) -> bool:
    """Whether the Image API answers where the settings say."""
    host, port = settings.address
    host = _EVERYWHERE.get(host, host)
    connection: http.client.HTTPConnection
    if settings.server.tls:
        # Whose certificate it is does not matter: nothing is sent.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/versions")
            return b'"versions"' in connection.getresponse().read(1 << 16)
        except (OSError, http.client.HTTPException):
            return False


def _url(settings: Settings) -> str:
    host, port = settings.address
    return f"{'https' if settings.server.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
