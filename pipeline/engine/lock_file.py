"""One lock file a recipe: what was found outside this machine when somebody last looked.

It lies beside the recipe, is meant to be committed, and is written by ``./inv nightly`` and ``./inv lock`` only. So a
build of an older revision takes what was there then, and the history of the file says when updates came in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.base import atomic
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


class LockFile:
    """The lock file of one recipe."""

    def __init__(self, folder: Path, recipe: str) -> None:
        self.path = folder / f"{recipe}.lock.json"
        self.recipe = recipe

    def read(self) -> dict[str, Locked]:
        """What is locked, by name; nothing when there is no file. Raises ``PipelineError`` when it is damaged."""
        try:
            data = json.loads(self.path.read_text())
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']!r}")
            return {name: Locked(**entry) for name, entry in data["sources"].items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PipelineError(
                f"{self.path} is no lock file: {error}", hint=f"./inv lock {self.recipe} writes it anew"
            ) from None

    def write(self, sources: Mapping[str, Locked]) -> bool:
        """Write ``sources`` down, or remove the file when there are none; say whether anything changed."""
        try:
            before = self.read()
        except PipelineError:
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
