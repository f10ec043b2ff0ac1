"""Run a client's command lines one after the other in one interpreter, each through the entry its own script has.

The only argument is the client's name. Each line on standard input is a command's words as JSON; what is written at
last is JSON too: of each its status, and what it printed and complained of.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import sys
from collections.abc import Callable
from typing import Any


def main() -> None:
    """Run the lines."""
    name = sys.argv[1]
    [script] = importlib.metadata.entry_points(group="console_scripts", name=name)
    entry: Callable[[], Any] = script.load()
    outcomes = []
    for line in sys.stdin:
        sys.argv = [name, *json.loads(line)]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = entry()
            except SystemExit as end:
                status = end.code
        outcomes.append({"status": status or 0, "out": out.getvalue(), "err": err.getvalue()})
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main()
