"""Find the passphrase of a key: in a file, the environment, or from a person at a terminal. Never on a command line."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.base import secrets
from pipeline.base.errors import PipelineError
from pipeline.signing.keys import private_file

_VARIABLE = "PIPELINE_KEY_PASSPHRASE"
_MIN_LENGTH = 12

# Asked for by the name of a key; ``None`` when nobody has a passphrase to give.
Source = Callable[[str], bytes | None]

# What a person typed, for the rest of this process's life and for the workers that it forks.
_typed: dict[str, bytes] = {}


def find(name: str) -> bytes | None:
    """Return the passphrase of the key ``name``.

    Looked for in the file that ``PIPELINE_KEY_PASSPHRASE_FILE`` names, in ``PIPELINE_KEY_PASSPHRASE``, then asked for
    when standard input is a terminal. Variables with the key's name appended (``…_RELEASE``) come first. A person is
    asked once only.
    """
    suffix = "_" + name.upper().replace("-", "_").replace(".", "_")
    for variable in (_VARIABLE + suffix, _VARIABLE):
        file = os.environ.get(f"{variable}_FILE")
        if file:
            return from_file(Path(file))
        value = os.environ.get(variable)
        if value:
            return value.encode()
    if name not in _typed and sys.stdin.isatty():
        found = ask(f"passphrase of the key {name}: ")
        if found is not None:
            secrets.remember(found.decode(errors="replace"))
            _typed[name] = found
    return _typed.get(name)


def can_ask(name: str) -> bool:
    """Return whether a person would have to be asked for the passphrase of the key ``name``, and can be."""
    return not is_set(name) and name not in _typed and sys.stdin.isatty()


def forget(name: str) -> None:
    """Forget what was typed: it is wrong."""
    _typed.pop(name, None)


def from_file(path: Path) -> bytes:
    """Return the first line of a private file; one line break at its end does not belong to the passphrase."""
    data = private_file.read(path, what="the passphrase file")
    text = data.removesuffix(b"\n").removesuffix(b"\r")
    if not text or b"\n" in text:
        raise PipelineError(f"{path}: a passphrase file has one line")
    return text


def ask(prompt: str) -> bytes | None:
    """Ask at the terminal, without an echo."""
    return getpass.getpass(prompt).encode() or None


def require_strength(passphrase: bytes) -> None:
    """Raise ``PipelineError`` when a new passphrase is too short to protect a key."""
    if len(passphrase) < _MIN_LENGTH:
        raise PipelineError(f"the passphrase is shorter than {_MIN_LENGTH} characters", hint="use several words")


def is_set(name: str) -> bool:
    """Return whether a passphrase lies ready for the key ``name``, so that nobody has to be asked."""
    suffix = "_" + name.upper().replace("-", "_").replace(".", "_")
    return any(os.environ.get(_VARIABLE + end + kind) for end in ("", suffix) for kind in ("", "_FILE"))
