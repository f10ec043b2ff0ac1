"""Supervise the service's processes: the HTTP server and the workers for durable tasks.

It only starts, watches and stops them. A worker that dies is started again; when the HTTP server ends, everything does.
Children end when the parent is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

log = logging.getLogger("imageservice.supervisor")

_SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
_PAUSE = 1.0
_KILL_AFTER = 30.0


class Supervisor:
    """Runs ``main`` and, at the same time, ``helpers`` (name → function), each in a process of its own."""

    def __init__(self, main: Callable[[], None], helpers: Mapping[str, Callable[[], None]]) -> None:
        self._main, self._helpers = main, dict(helpers)
        self._main_pid = 0
        self._pids: dict[int, str] = {}
        self._restart_at: dict[str, float] = {}
        self._stop_signal: signal.Signals | None = None

    def run(self) -> int:
        """Run until ``main`` ends; its exit status."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._main_pid = _fork(self._main)
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        for name in self._helpers:
            self._start(name)
        status = self._watch()
        self._end_helpers()
        return status

    def _on_signal(self, number: int, frame: Any) -> None:
        self._stop_signal = signal.Signals(number)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._main_pid, number)

    def _watch(self) -> int:
        while True:
            pid, status = self._wait()
            if pid == self._main_pid:
                return os.waitstatus_to_exitcode(status)
            name = self._pids.pop(pid, None)
            if name is not None and self._stop_signal is None:
                log.error("the %s process ended (%s); starting it again", name, os.waitstatus_to_exitcode(status))
                self._restart_at[name] = time.monotonic() + _PAUSE
            for name, due in list(self._restart_at.items()):
                if due <= time.monotonic():
                    del self._restart_at[name]
                    self._start(name)

    def _wait(self) -> tuple[int, int]:
        """Return the next child that ended; (0, 0) when a restart is due first."""
        if not self._restart_at:
            return os.waitpid(-1, 0)
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            time.sleep(0.1)
        return pid, status

    def _start(self, name: str) -> None:
        self._pids[_fork(self._helpers[name])] = name

    def _end_helpers(self) -> None:
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + _KILL_AFTER
        while self._pids:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            self._pids.pop(pid, None)
            if not pid:
                time.sleep(0.05)
            if time.monotonic() > until:
                for left in self._pids:
                    os.kill(left, signal.SIGKILL)


def _fork(work: Callable[[], None]) -> int:
    """Run ``work`` in a child; its process id."""
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        work()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except KeyboardInterrupt:
        pass
    except BaseException:
        log.exception("a process of the service failed")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
