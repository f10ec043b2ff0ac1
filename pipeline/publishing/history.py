"""Remember what each night left of a recipe on a cloud, for the charts of later reports: one JSON line a night."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pipeline.base import json_text
from pipeline.base.home import Home
from pipeline.publishing.transaction.journal import file_name

_KEPT = 400


@dataclass(frozen=True)
class NightEntry:
    """One night. ``size`` is that of the published file in bytes; ``seconds`` are by step, building and publishing."""

    run: str
    time: str
    cloud: str
    outcome: str
    size: int | None = None
    sha512: str = ""
    image: str = ""
    seconds: dict[str, float] = field(default_factory=dict)


class NightHistory:
    """The nights of one recipe, oldest first."""

    def __init__(self, home: Home, recipe: str) -> None:
        self._file: Path = home.root / "publishing" / "history" / f"{file_name(recipe)}.jsonl"

    def add(self, entry: NightEntry) -> None:
        """Add a night."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(asdict(entry), ensure_ascii=False, separators=(",", ":"))
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, f"\n{line}\n".encode())
        finally:
            os.close(descriptor)

    def entries(self, cloud: str | None = None) -> list[NightEntry]:
        """Return the newest nights (on ``cloud``, if given)."""
        if not self._file.is_file():
            return []
        found = []
        for line in self._file.read_text(errors="replace").splitlines():
            entry = _parse(line)
            if entry is not None and (cloud is None or entry.cloud == cloud):
                found.append(entry)
        return found[-_KEPT:]


def _parse(line: str) -> NightEntry | None:
    try:
        document = json_text.loads(line)
        return NightEntry(**document) if isinstance(document, dict) else None
    except (ValueError, TypeError):
        return None
