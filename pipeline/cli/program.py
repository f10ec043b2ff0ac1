"""Run invoke under our name: the tour of the product, clear words on a wrong command line, clean ends.

Plain ``invoke``, run in the checkout, offers the same tasks.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import os
import re
import signal
import sys
import tomllib
from collections.abc import Iterator
from types import FrameType

from invoke.collection import Collection
from invoke.exceptions import Exit, ParseError
from invoke.program import Program
from invoke.util import helpline

from pipeline.base import terminal
from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT
from pipeline.cli import arguments, task

_UNKNOWN = re.compile(r"No idea what '(?P<word>.*)' is!")
_VALUELESS = re.compile(r"Flag <Argument: (?P<option>[\w-]+).*> needed value and was not given one!")
_NUMBERLESS = re.compile(r"invalid literal for int\(\) with base 10: (?P<word>.*)")
_USAGE = "Usage: ./inv TASK [ARGUMENTS] [--options]"


class Inv(Program):
    """The program behind ``./inv``."""

    def __init__(self, tasks: Collection) -> None:
        super().__init__(namespace=tasks, name="golden-image-pipeline", binary="./inv", version=_version())

    def parse_core(self, argv: list[str] | None) -> None:
        """Read the options before the first task."""
        with self._wrong_usage_explained():
            super().parse_core(arguments.spelled_out(sys.argv if argv is None else argv))
        # invoke's default would compile all our modules anew at each call.
        sys.dont_write_bytecode = False

    def parse_tasks(self) -> None:
        """Read the tasks and their options."""
        with self._wrong_usage_explained():
            super().parse_tasks()

    def parse_cleanup(self) -> None:
        """Answer ``--list`` and ``--help``."""
        with self._wrong_usage_explained():
            super().parse_cleanup()

    def print_help(self) -> None:
        """Print the tour, and how to ask for more."""
        self.list_flat()
        print("./inv --help TASK explains a task; its options may stand behind its name in any order.")

    def print_task_help(self, name: str) -> None:
        """Print what one task does, and its options."""
        made = self.collection[name]
        options = self.parser.contexts[name].help_tuples()
        declared = self.parser.contexts[name].args
        shown = "".join(
            f" {word.upper()}" if declared[word].default is None else f" [{word.upper()}]" for word in made.positional
        )
        print(f"Usage: ./inv {name}{shown}{' [--options]' if options else ''}\n\n{inspect.getdoc(made) or ''}\n")
        if options:
            self.print_columns(options)

    def list_flat(self) -> None:
        """Print every task, in the chapters and the order of ``tasks.py``."""
        print(f"{_USAGE}\n")
        shown = [row for row in task.chapters() if self.list_root is None or row[1].startswith(f"{self.list_root}.")]
        width = max(len(name) for _, name, _ in shown)
        previous = None
        for chapter, name, made in shown:
            if chapter != previous:
                print(f"{'' if previous is None else chr(10)}{chapter}")
            print(f"  {name:<{width}}  {helpline(made) or ''}".rstrip())
            previous = chapter
        print()

    @contextlib.contextmanager
    def _wrong_usage_explained(self) -> Iterator[None]:
        try:
            yield
        except ParseError as error:
            task.show(self._explain(error))
            raise SystemExit(task.Exit.USAGE) from None
        except Exit as error:
            if not error.message:
                raise
            task.show(PipelineError(error.message, hint="./inv --list shows all tasks"))
            raise SystemExit(task.Exit.USAGE) from None
        except ValueError as error:
            # invoke turns an option's value into a number, and leaves the error to whoever comes.
            numberless = _NUMBERLESS.fullmatch(str(error))
            if numberless is None:
                raise
            hint = f"./inv --help {(self._named() or ['TASK'])[-1]}"
            task.show(PipelineError(f"{numberless['word']} is no whole number", hint=hint))
            raise SystemExit(task.Exit.USAGE) from None

    def _named(self) -> list[str]:
        return [name for name in self.argv[1:] if name in self.collection.task_names]

    def _explain(self, error: ParseError) -> PipelineError:
        if valueless := _VALUELESS.fullmatch(str(error)):
            return PipelineError(f"the option --{valueless['option']} needs a value")
        found = _UNKNOWN.fullmatch(str(error))
        if not found:
            return PipelineError(str(error), hint="./inv --help TASK shows what it takes")
        word = found["word"]
        # Options are those of the last task before the unknown word.
        named = self._named()
        if word.startswith("-") and named:
            flags = [f"--{name}" for name in self.parser.contexts[named[-1]].args]
            return PipelineError(
                f"{named[-1]} has no option {word}{_nearest(word, flags)}", hint=f"./inv --help {named[-1]}"
            )
        what = "option" if word.startswith("-") else "task"
        names = [name for _, name, _ in task.chapters()]
        return PipelineError(f"there is no {what} {word}{_nearest(word, names)}", hint="./inv --list shows all tasks")


def main() -> None:
    """Run the tasks named on the command line."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # As an exception, so that every context manager on the way out cleans up.
        signal.signal(number, _end)
    terminal.guard()
    sys.path.insert(0, str(CHECKOUT))
    tasks = importlib.import_module("tasks")
    try:
        Inv(tasks.namespace).run()
    except BrokenPipeError:
        # The reader (head, a pager) has seen enough; keep the interpreter from complaining when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _version() -> str:
    version: str = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    return version
