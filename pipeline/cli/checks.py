"""Run ``./inv test``: pytest with the right selection."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from pipeline.base import json_text
from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT

# Guests, servers and the rest as tests/side_by_side.py says.
SIDE_BY_SIDE = ("--dist=loadscope", "--no-loadscope-reorder", "--durations=40")
# How many failures of thousands may be a busy machine's doing. More are not looked at twice.
AGAIN = 3


def test(*, fast: bool, everything: bool, soak: bool, shard: str, only: Sequence[str]) -> None:
    """Become pytest; its exit status is ours. Raises ``PipelineError`` for a selection that makes no sense."""
    if fast + everything + soak > 1:
        raise PipelineError("--fast, --all and --soak exclude each other")
    arguments = ["-m", _selection(fast, everything, soak)]
    processors = len(os.sched_getaffinity(0))
    if fast:
        # These share nothing that is dear, so they can be spread over all processors; a file stays together.
        arguments += ["-n", str(processors), "--dist=loadfile"]
    elif not only and not soak:
        # Most of it waits, so there is one process more than processors; there are no more than four shares.
        arguments += [*SIDE_BY_SIDE, "-n", str(min(4, processors + 1))]
    if shard:
        arguments.append(f"--shard={_checked_shard(shard)}")
    _become_pytest([*arguments, *only])


def again(*, everything: bool) -> None:
    """Become pytest for what failed last time, one after the other with nothing beside it.

    Raises ``PipelineError`` when so much did that it is no chance, or that cannot be told.
    """
    failed = _failed_last_time()
    if not failed:
        # The test at which a process died is repeated by the one that takes its place.
        print("nothing that failed last time has not passed since")
        return
    if len(failed) > AGAIN:
        raise PipelineError(
            f"--again: {len(failed)} tests failed last time, and it is for at most {AGAIN}",
            hint="./inv test --only TEST",
        )
    print(f"failed last time, and run again alone: {', '.join(failed)}")
    _become_pytest(["-m", _selection(fast=False, everything=everything, soak=False), *failed])


def _failed_last_time() -> list[str]:
    """Return the tests that pytest noted as failed; files that could not even be collected count too."""
    try:
        noted = json_text.loads((CHECKOUT / ".pytest_cache/v/cache/lastfailed").read_text())
    except FileNotFoundError:
        return []
    except ValueError:
        raise PipelineError("what failed last time cannot be read: a run was killed while it wrote it") from None
    return sorted(noted)


def _selection(fast: bool, everything: bool, soak: bool) -> str:
    if soak:
        return "soak"
    if everything:
        return "not soak"
    return "not (guest or server or slow or long or soak)" if fast else "not (long or soak)"


def _checked_shard(shard: str) -> str:
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise PipelineError(f"--shard={shard}: not one part of several", hint="say 1/3, 2/3 or 3/3")
    return shard


def _become_pytest(arguments: Sequence[str]) -> None:
    os.chdir(CHECKOUT)
    sys.stdout.flush()
    # In our place rather than below us: signals, the closing line and the status are pytest's own.
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])  # noqa: S606
