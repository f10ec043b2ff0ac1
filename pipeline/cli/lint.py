"""Check everything about the form of this code (``./inv lint``), side by side, with one line for each check."""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT
from pipeline.cli import commits
from pipeline.host.system import process

Command = Sequence[str | Path]


def tools() -> Mapping[str, Command]:
    """Return the linters, by what they look at."""
    return {
        "types": _module("mypy", "tasks.py", "pipeline", "tests", "benchmarks"),
        "style": _module("ruff", "check", "."),
        "format": _module("ruff", "format", "--diff", "."),
        # SC2187 only says that busybox's shell is checked as dash, which is what it descends from.
        "shell scripts": ["shellcheck", "--external-sources", "--exclude=SC2187", *scripts()],
    }


def scripts() -> list[Path]:
    """Return the shell scripts of this checkout."""
    listed = process.run(["git", "ls-files", "-z"], cwd=CHECKOUT).stdout.split("\0")
    files = [CHECKOUT / name for name in listed if name and (CHECKOUT / name).is_file()]
    return [file for file in files if re.match(rb"#!.*\b(sh|bash)\b", file.read_bytes()[:64])]


def run() -> None:
    """Print what each check found. Raises ``PipelineError`` when one has found something."""
    failed = []
    with tempfile.TemporaryDirectory(prefix="pipeline-lint-") as folder, contextlib.ExitStack() as ends:
        running = {}
        for name, command in {
            **tools(),
            "architecture": _module("pytest", "-q", "tests/unit/test_architecture.py"),
        }.items():
            log = ends.enter_context(Path(folder, name).open("w+b"))
            running[name] = ends.enter_context(process.started(command, log=log, cwd=CHECKOUT)), Path(log.name)
        if unfit := commits.unfit():
            print("commits: found", *unfit, sep="\n", flush=True)
            failed.append("commits")
        for name, (child, log_file) in running.items():
            if child.wait() == 0:
                print(f"{name}: good", flush=True)
                continue
            print(f"{name}: found", log_file.read_text(errors="replace").rstrip(), sep="\n", flush=True)
            failed.append(name)
    if (todo := commits.install_hook()) is not None:
        print(f"note: {todo}")
    if failed:
        raise PipelineError(
            f"not as it has to be: {', '.join(failed)}", hint="see above; ruff check --fix and ruff format"
        )


def _module(*words: str) -> Command:
    return [sys.executable, "-m", *words]
