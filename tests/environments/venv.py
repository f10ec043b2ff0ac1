"""Virtual environments for other people's programs, apart from ours, so that no dependency of theirs meets one of ours.

``requirements/env-NAME.in`` names the distributions, ``requirements/env-NAME.txt`` pins each with its hashes. Renew a
lock with

    uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \\
        --no-header requirements/env-NAME.in -o requirements/env-NAME.txt

An environment is made once per lock and interpreter and kept for later runs, in ``PIPELINE_CACHE`` or ``PIPELINE_HOME``
when they are set, else in the user's cache folder, where all checkouts share it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.home import CHECKOUT, Home
from pipeline.host.system import process

_INTERPRETER = "/usr/bin/python3"
_COMPLETE = "complete"


@dataclass(frozen=True)
class Environment:
    """A finished virtual environment."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.program("python")

    def program(self, name: str) -> Path:
        """The command ``name`` of one of its distributions."""
        return self.folder / "bin" / name


def environment(name: str) -> Environment:
    """The environment of ``requirements/env-NAME.txt``, made now unless an earlier run did.

    Takes up to two minutes the first time. Safe to call from several processes at once. Raises ``ProcessFailed``
    when the package index does not answer or a hash differs.
    """
    lock = CHECKOUT / "requirements" / f"env-{name}.txt"
    key = hashlib.sha256(lock.read_bytes() + _version().encode()).hexdigest()[:16]
    folder = _CACHE / f"{name}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        # Programs in an environment name its path, so it is made in place and marked when complete.
        if not (folder / _COMPLETE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, lock)
            (folder / _COMPLETE).touch()
    return Environment(folder)


def _make(folder: Path, lock: Path) -> None:
    process.run([_interpreter(), "-m", "venv", folder])
    pip: list[str | Path] = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    process.run([*pip, "--no-deps", "--require-hashes", "-r", lock], env=pip_settings(), timeout=900)


def pip_settings() -> dict[str, str]:
    """The index, mirror and certificates that the user has set for pip."""
    return {name: value for name, value in os.environ.items() if name.startswith("PIP_")}


def _cache() -> Path:
    if os.environ.get("PIPELINE_CACHE") or os.environ.get("PIPELINE_HOME"):
        return Home.default().cache / "environments"
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "golden-image-pipeline" / "environments"


# Read once, when tests begin: each test has a home of its own, which is not where environments are kept.
_CACHE = _cache()


def _interpreter() -> str:
    """The distribution's interpreter, since only it can load the distribution's bindings (rbd)."""
    return _INTERPRETER if Path(_INTERPRETER).exists() else sys.executable


def _version() -> str:
    return process.run([_interpreter(), "-VV"]).stdout
