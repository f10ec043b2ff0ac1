"""Run a program of this room where it can do no harm: it reads text that anybody may have written."""

from __future__ import annotations

import json
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.host.system import process, sandbox

_PACKAGES = "/packages"


def run(
    program: ModuleType, libraries: tuple[ModuleType, ...], request: Mapping[str, Any], bounds: sandbox.SandboxLimits
) -> process.Finished:
    """Run the module ``program`` with ``request`` as JSON on its standard input, and only ``libraries`` to import.

    It has no environment, no network, and no file but the interpreter and those libraries.
    """
    name = Path(str(program.__file__)).name
    words = [str(Path(sys.executable).resolve()), "-E", "-s", "-S", "-B", f"{_PACKAGES}/{name}"]
    text = json.dumps(dict(request), sort_keys=True).encode()
    files = readable(program, libraries)
    return sandbox.run(words, readable=files, bounds=bounds, whole_system=True, stdin=text, check=False)


def readable(program: ModuleType, libraries: tuple[ModuleType, ...]) -> dict[str, Path]:
    """Return all that ``program`` finds where it runs: the interpreter's library, ``libraries`` and itself."""
    file, library = Path(str(program.__file__)), Path(sysconfig.get_path("stdlib"))
    return {
        str(library): library,
        **{f"{_PACKAGES}/{each.__name__}": Path(str(each.__file__)).parent for each in libraries},
        f"{_PACKAGES}/{file.name}": file,
    }
