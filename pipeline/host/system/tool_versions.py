"""Ask installed programs for their versions, or about files, and remember it in this process while those files stay
as they are.

A plan asks the same for every recipe: versions, libraries, lists. Starting a program takes longer than all the rest.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path

from pipeline.host.system import process

# Which libraries a program finds.
_LINKER_CACHE = Path("/etc/ld.so.cache")


def output_of(command: Sequence[str | Path], *about: Path, check: bool = True) -> process.Finished:
    """Return what ``command`` prints; ``about`` are files, in addition to the program, that decide it.

    Raises ``ProcessFailed`` on a status other than 0 unless ``check`` is false.
    """
    words = tuple(map(str, command))
    # Where an ordinary user's shell does not look, too, as ``process`` does.
    program = shutil.which(words[0]) or shutil.which(words[0], path="/usr/sbin:/sbin") or words[0]
    return _output_of(words, tuple(_state(file) for file in (Path(program), _LINKER_CACHE, *about)), check)


def version(program: str | Path) -> str:
    """Return the first line of what a program says to ``--version``."""
    return output_of([program, "--version"]).stdout.splitlines()[0]


@functools.lru_cache(maxsize=256)
def _output_of(words: tuple[str, ...], states: tuple[tuple[int, int, int], ...], check: bool) -> process.Finished:
    return process.run(words, check=check)


def _state(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0, 0
    return found.st_size, found.st_mtime_ns, found.st_ino
