"""Read and write a recipe's lock file: what was found outside this machine when somebody last looked.

It lies next to the recipe, is meant to be committed, and is written by ``./inv nightly`` and ``./inv lock`` only. So a
build of an older revision takes what was there then, and the history of the file says when updates came in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.base import atomic, json_text
from pipeline.base.errors import PipelineError

FORMAT = 1


@dataclass(frozen=True)
class Locked:
    """What was found: its URL without any password, and its digest, its validators, or only when we looked.

    ``resolved`` is an ISO 8601 time in UTC.
    """

    url: str
    resolved: str
    sha256: str | None = None
    validators: Mapping[str, str] | None = None

    @property
    def identity(self) -> Any:
        """What changes when the thing does: this enters content keys."""
        # A package URL says which version it is.
        named = self.url if self.url.startswith("pkg:") else None
        return self.sha256 or dict(self.validators or {}) or named or self.resolved

    @property
    def age(self) -> float:
        """Seconds since somebody looked."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.resolved)).total_seconds()


class Damaged(PipelineError):
    """What is no lock file, though it should be one."""


class LockFile:
    """The lock file of one recipe. To who came to ``mend`` it, a damaged one is as good as none."""

    def __init__(self, folder: Path, recipe: str, *, mend: bool = False) -> None:
        self.path = folder / f"{recipe}.lock.json"
        self.recipe = recipe
        self.mend = mend

    def read(self) -> dict[str, Locked]:
        """Return what is locked, by name; nothing when there is no file.

        Raises ``PipelineError`` when it cannot be read, is of a newer version, or is damaged and not to be mended.
        """
        try:
            return self._read()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise PipelineError(f"{self.path} cannot be read: {error.strerror}") from None
        except Damaged:
            if self.mend:
                return {}
            raise

    def write(self, sources: Mapping[str, Locked]) -> bool:
        """Write ``sources`` down, or remove the file when there are none; say whether anything changed.

        Raises ``PipelineError`` when there is a file that cannot be read, or of a newer version.
        """
        try:
            before = self.read()
        except Damaged:
            before = {}
        if before == dict(sources) and (self.path.exists() or not sources):
            return False
        if not sources:
            self.path.unlink(missing_ok=True)
            return True
        entries = {
            name: {key: value for key, value in asdict(entry).items() if value is not None}
            for name, entry in sorted(sources.items())
        }
        text = json.dumps({"format": FORMAT, "recipe": self.recipe, "sources": entries}, indent=2)
        atomic.write_text(self.path, f"{text}\n")
        return True

    def _read(self) -> dict[str, Locked]:
        text = self.path.read_bytes()
        try:
            data = json_text.loads(text)
            if isinstance(data["format"], int) and data["format"] > FORMAT:
                raise PipelineError(
                    f"{self.path} is of a newer version of the pipeline: it has format {data['format']}, and this one"
                    f" knows {FORMAT}",
                    hint="use that version",
                )
            if data["format"] != FORMAT:
                raise ValueError(f"it has format {data['format']!r}")
            return {name: _entry(fields) for name, fields in data["sources"].items()}
        except ValueError as error:
            raise self._damaged(str(error)) from None
        except (KeyError, TypeError, AttributeError):
            raise self._damaged("it does not say what a lock file says") from None

    def _damaged(self, how: str) -> Damaged:
        return Damaged(f"{self.path} is no lock file: {how}", hint=f"./inv lock {self.recipe} writes it anew")


def _entry(fields: Mapping[str, Any]) -> Locked:
    found = Locked(**fields)
    if not isinstance(found.url, str) or datetime.fromisoformat(found.resolved).tzinfo is None:
        raise ValueError(f"{found.url} was not resolved at a time in UTC")
    return found
