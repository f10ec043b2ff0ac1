"""Make a function a task of ``./inv``, and print a task's failure in one place.

Exit codes: 0 done; 1 a failure that is explained; 2 a wrong command line; 70 a bug in the pipeline; 128 + N ended by
signal N (130: Ctrl-C). A task that reports by status (``test``, ``nightly``) raises ``SystemExit`` itself.
"""

from __future__ import annotations

import errno
import functools
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from invoke.collection import Collection
from invoke.tasks import Task

from pipeline.base import atomic, terminal
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home


class Exit(IntEnum):
    """What ``./inv`` ends with."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    BUG = 70
    INTERRUPTED = 130


# A task's failure that the machine causes, not our code: it gets an explanation, not a bug report.
_MACHINE = {
    errno.ENOSPC: "free some space there, or set PIPELINE_HOME or TMPDIR to a larger file system",
    errno.EDQUOT: "your disk quota is used up: free some space",
    errno.EROFS: "the file system is read-only: set PIPELINE_HOME to one that can be written",
    errno.EACCES: "give this user the right, or set PIPELINE_HOME to a folder of its own",
    errno.EPERM: "give this user the right, or set PIPELINE_HOME to a folder of its own",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}

_chapters: dict[str, dict[str, Task[Any]]] = {}


def task(
    name: str,
    chapter: str,
    *,
    help: Mapping[str, str] | None = None,
    positional: Sequence[str] | None = None,
    optional: Sequence[str] = (),
    iterable: Sequence[str] = (),
) -> Callable[[Callable[..., None]], Task[Any]]:
    """Make a function the task ``name`` ("build", "service.start") in a ``chapter`` of ``./inv --list``.

    The function takes invoke's context first; its other parameters become options, those without a default (or
    those in ``positional``) arguments. ``help`` explains each. The first line of its docstring is its line in the list.
    """

    def make(function: Callable[..., None]) -> Task[Any]:
        made: Task[Any] = Task(
            _explained(function),
            name=name.rpartition(".")[2],
            positional=positional,
            optional=optional,
            iterable=iterable,
            auto_shortflags=False,
            help=dict(help or {}),
        )
        _chapters.setdefault(chapter, {})[name] = made
        return made

    return make


def namespace() -> Collection:
    """Return every task made so far, a collection for each part of a dotted name but its last."""
    root = Collection()
    for _, name, made in chapters():
        folder, _, leaf = name.rpartition(".")
        target = root
        if folder:
            for part in folder.split("."):
                if part not in target.collections:
                    target.add_collection(Collection(part))
                target = target.collections[part]
        target.add_task(made, name=leaf)
    return root


def chapters() -> Iterator[tuple[str, str, Task[Any]]]:
    """Chapter, full name and task, in the order in which they were made."""
    for chapter, tasks in _chapters.items():
        for name, made in tasks.items():
            yield chapter, name, made


def show(error: PipelineError) -> None:
    """Print an error for a person: message, details, hint; on standard error."""
    from rich.text import Text

    from pipeline.base.terminal import SafeConsole

    console = SafeConsole(stderr=True)
    console.print(Text.assemble(("error: ", "bold red"), error.message), soft_wrap=True)
    for detail in error.details:
        # A detail may be what a program printed, in several lines: each stays behind the margin.
        for line in detail.splitlines():
            console.print(Text(f"  {line}"), soft_wrap=True)
    if error.hint:
        console.print(Text.assemble(("hint: ", "bold cyan"), error.hint), soft_wrap=True)


def _explained(function: Callable[..., None]) -> Callable[..., None]:
    """Return ``function`` with its failures printed and turned into exit codes."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> None:
        terminal.guard()  # plain invoke has not
        try:
            function(*args, **options)
        except PipelineError as error:
            show(error.in_full())
            raise SystemExit(Exit.FAILED) from None
        except KeyboardInterrupt:
            show(PipelineError("interrupted"))
            raise SystemExit(Exit.INTERRUPTED) from None
        except BrokenPipeError:
            raise
        except OSError as error:
            if error.errno not in _MACHINE:
                raise SystemExit(_report_bug(error)) from None
            where = [] if error.filename else [f"state is in {Home.default().root}, scratch in {tempfile.gettempdir()}"]
            location = f"{error.filename}: " if error.filename else ""
            show(PipelineError(f"{location}{error.strerror}", details=where, hint=_MACHINE[error.errno]))
            raise SystemExit(Exit.FAILED) from None
        except Exception as error:
            raise SystemExit(_report_bug(error)) from None

    return call


def _report_bug(error: Exception) -> Exit:
    last = traceback.extract_tb(error.__traceback__)[-1]
    details = [f"{type(error).__name__}: {error}", f"at {last.filename}:{last.lineno} in {last.name}"]
    report = Home.default().root / "crashes" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.txt"
    try:
        atomic.write_text(report, "".join(traceback.format_exception(error)), mode=0o600)
    except OSError as failure:
        details.append(f"the report could not be written: {failure}")
    show(PipelineError("this is a bug in the pipeline", details=details, hint=f"please report it with {report}"))
    return Exit.BUG
