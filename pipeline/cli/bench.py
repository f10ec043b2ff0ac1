"""Run one of the benchmarks (``./inv bench``)."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT


def run(name: str, *, options: str, json: str) -> None:
    """Become the benchmark ``name``; without one, list them. Raises ``PipelineError`` for a name that is none."""
    sys.path.insert(0, str(CHECKOUT))
    from benchmarks.__main__ import NAMES

    if not name:
        print("\n".join(f"{each:<24}{what}" for each, what in NAMES.items()))
        return
    if name not in NAMES:
        raise PipelineError(f"there is no benchmark {name}", hint=f"one of {', '.join(NAMES)}")
    words = [name, *(["--json", str(Path(json).absolute())] if json else []), *shlex.split(options)]
    os.chdir(CHECKOUT)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *words])  # noqa: S606
