"""Other people's JavaScript programs, installed once per lock into a folder that all checkouts share."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.host.system import process
from tests.environments.daemon import NotInstalled
from tests.environments.venv import _CACHE


@contextlib.contextmanager
def environment(name: str) -> Iterator[Path]:
    """Give the folder of ``tests/environments/NAME`` with its packages beside it, made now unless an earlier run did.

    Raises ``NotInstalled`` without Node.js, ``ProcessFailed`` when the registry does not answer or a hash differs.
    """
    if not shutil.which("npm"):
        raise NotInstalled("npm is not installed", hint="apt install nodejs npm")
    source = Path(__file__).with_name(name)
    parts = sorted(path for path in source.iterdir() if path.is_file())
    key = hashlib.sha256(b"".join(path.read_bytes() for path in parts)).hexdigest()[:16]
    folder = _CACHE / f"{name}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(source, folder)
            settings = {name: value for name, value in os.environ.items() if name.lower().startswith("npm_config_")}
            words = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            process.run(words, cwd=folder, env=settings, timeout=300)
            (folder / "complete").touch()
    yield folder
