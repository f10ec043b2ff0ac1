"""Command lines of the clients people have, typed one after the other.

A client takes seconds to start, most of them for imports. Where many lines are of interest, they run in one process,
each through the same entry that the client's own script calls.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.home import CHECKOUT
from pipeline.host.system import process

_PROGRAM = CHECKOUT / "tests" / "environments" / "client_lines_program.py"
_HOME = {"HOME": "/nonexistent", "PYTHONWARNINGS": "ignore", "PYTHONIOENCODING": "utf-8"}


@dataclass(frozen=True)
class Outcome:
    """How one command line ended."""

    status: int
    out: str
    err: str


def run(client: str, lines: Sequence[Sequence[str]], *, env: Mapping[str, str], apart: bool = False) -> list[Outcome]:
    """Run the lines of ``client`` (``glance``, ``openstack``); with ``apart`` each in a process, as people do."""
    env = {**_HOME, **env}
    if apart:
        program = Path(sys.executable).parent / client
        ended = [process.run([program, *line], env=env, check=False, timeout=300) for line in lines]
        return [Outcome(one.status, one.stdout, one.stderr) for one in ended]
    text = "".join(f"{json.dumps(list(line))}\n" for line in lines)
    ended_all = process.run([sys.executable, _PROGRAM, client], stdin=text.encode(), env=env)
    return [Outcome(**one) for one in json.loads(ended_all.stdout)]
