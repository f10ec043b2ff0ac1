"""Read the secrets that a build needs (a subscription's password, say): by name, from outside, never shown again.

A secret's value comes from ``PIPELINE_SECRET_NAME`` or from the file ``secrets/name`` of the home, mode 0600. Recipes,
keys and records know its name and generation only: the generation is the number in the file's first line
``generation: N`` if there is one, else 1, and is raised by whoever rotates the secret. Every value that was revealed
in a process can be scrubbed from what that process is about to show.
"""

from __future__ import annotations

import base64
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home

HIDDEN = "[secret]"
# What is shorter would be found in innocent words.
_SHORTEST = 4
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_GENERATION = re.compile(r"generation: (\d{1,9})\n")
_revealed: set[str] = set()


@dataclass(frozen=True)
class Secret:
    """A secret's name, generation and value. Only the first two may be shown."""

    name: str
    generation: int
    value: str = field(repr=False)

    @property
    def identity(self) -> str:
        """What may stand in a content key."""
        return f"{self.name} (generation {self.generation})"


def reveal(name: str, home: Home) -> Secret:
    """Return the secret called ``name``. Raises ``PipelineError`` that says where to put it when it is nowhere."""
    if not _NAME.fullmatch(name):
        raise PipelineError(f"{name[:80]!r} is no name of a secret: lower case letters, digits and -")
    variable = f"PIPELINE_SECRET_{name.upper().replace('-', '_')}"
    file = home.root / "secrets" / name
    given = os.environ.get(variable)
    secret = Secret(name, 1, given) if given is not None else _from_file(name, file, variable)
    if not secret.value:
        raise PipelineError(f"the secret {name} is empty")
    remember(secret.value)
    return secret


def remember(value: str) -> None:
    """Scrub ``value`` from now on, also in the spellings that URLs, headers and JSON use."""
    if len(value) >= _SHORTEST:
        encoded = base64.b64encode(value.encode()).decode()
        _revealed.update({value, quote(value, safe=""), json.dumps(value)[1:-1], encoded, encoded.rstrip("=")})


def scrub(text: str) -> str:
    """Return ``text`` without any secret that was revealed in this process."""
    for value in sorted(_revealed, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return text


def scrub_files(folder: Path) -> None:
    """Scrub a file, or every file below a folder, in place."""
    for file in [folder] if folder.is_file() else sorted(folder.rglob("*")):
        if _revealed and file.is_file() and not file.is_symlink():
            _scrub_file(file)


def _scrub_file(file: Path) -> None:
    data = file.read_bytes()
    clean = data
    for value in sorted(_revealed, key=len, reverse=True):
        # The same length, so that offsets in binary files stay right.
        clean = clean.replace(value.encode(), HIDDEN.encode().ljust(len(value.encode()), b"*")[: len(value.encode())])
    if clean != data:
        file.write_bytes(clean)


def _from_file(name: str, file: Path, variable: str) -> Secret:
    try:
        mode = file.stat().st_mode & 0o077
        text = file.read_text()
    except FileNotFoundError:
        raise PipelineError(
            f"the secret {name} is missing", hint=f"put it into {file} (mode 0600) or into the variable {variable}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"the secret {name} cannot be read from {file}: {error}") from None
    if mode:
        raise PipelineError(f"{file} is open to others", hint=f"chmod 600 {file}")
    found = _GENERATION.match(text)
    return Secret(name, int(found[1]) if found else 1, (text[found.end() :] if found else text).rstrip("\n"))
