"""Keep the folder that keys live in: who is in it, what is known of them, one writer at a time.

``HOME/keys/NAME/`` (mode 0700) holds a record and, for each generation of the key, its private part (0600; absent
when a hardware token keeps it) and its public part.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.base import atomic, json_text, locks
from pipeline.base.errors import PipelineError
from pipeline.signing.keys import private_file
from pipeline.signing.keys.records import Generation, Record

AUTHORITY = "ca"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class KeyFolder:
    """Keys below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Return all keys, the authority's too."""
        return sorted(path.parent.name for path in self.folder.glob("*/key.json"))

    def record(self, name: str) -> Record:
        """Return what is known of a key. Raises ``PipelineError`` when there is none of this name."""
        path = self._of(name) / "key.json"
        try:
            return Record.parse(json_text.loads(path.read_bytes()))
        except FileNotFoundError:
            known = ", ".join(each for each in self.names() if each != AUTHORITY) or "none"
            raise PipelineError(
                f"there is no key {name!r} (there are: {known})", hint=f"./inv keys.new {name} makes it"
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise PipelineError(f"{path} is damaged: {error}", hint="restore it from a backup") from None

    def _require_absent(self, name: str) -> None:
        if (self._of(name) / "key.json").exists():
            raise PipelineError(f"there is a key {name!r} already", hint=f"./inv keys.rotate {name}")

    def _require_free_name(self, name: str) -> None:
        self._require_name(name)
        if name == AUTHORITY:
            raise PipelineError(f"{name!r} is the authority's own name", hint="choose another")

    def _require_name(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise PipelineError(f"{name!r} is no name for a key: lower case letters, digits and ._- (up to 63)")

    def _of(self, name: str) -> Path:
        self._require_name(name)
        return self.folder / name

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Only one process changes keys at a time."""
        with locks.held(self.folder / ".lock", "changing the keys", wait=math.inf):
            yield

    def _write(self, folder: Path, record: Record) -> None:
        atomic.write_text(folder / "key.json", record.dump(), mode=0o600)

    def _private(self, name: str, generation: Generation) -> bytes:
        path = self._of(name) / generation.uri.removeprefix("file:")
        return private_file.read(path, what=f"the key {name}:")


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read."""
    atomic.write_bytes(path, data, mode=0o600)
