"""Write down what publishing did to one recipe's images on one cloud: one JSON line an event, before the next act.

A run that was killed is continued with what stands here; ``./inv why`` tells an image's story from it. A last line that
was cut by a crash is ignored.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.base import json_text
from pipeline.base.home import Home
from pipeline.publishing.cloud import ownership_marker

_KEPT = 4 << 20


@dataclass(frozen=True)
class JournalEvent:
    """One act: what was done (``act``) to which ``image``, by which ``run``, and why."""

    time: str
    run: str
    act: str
    image: str
    why: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


class PublishJournal:
    """The events of one recipe on one cloud, oldest first."""

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        self.run = run

    def note(self, act: str, image: str, why: str = "", **detail: Any) -> None:
        """Add an event; it is on disk when this returns."""
        event = JournalEvent(ownership_marker.time_text(datetime.now(UTC)), self.run, act, image, why, detail)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._shorten()
        line = json.dumps(asdict(event), ensure_ascii=False, separators=(",", ":"))
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            # The leading break closes a line that a crash cut short.
            os.write(descriptor, f"\n{line}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def events(self) -> Iterator[JournalEvent]:
        """Yield all events, oldest first."""
        for path in (self._older, self.path):
            if path.is_file():
                for line in path.read_text(errors="replace").splitlines():
                    if event := _parse(line):
                        yield event

    def last_serial(self) -> int:
        """Return the highest serial that a record was ever made with; ids of deleted images are never free again."""
        return max((int(event.detail.get("serial") or 0) for event in self.events()), default=0)

    def verified_stores(self, image: str) -> set[str]:
        """Return the stores an image was read back from already, by any run; ``""`` is one that is not known.

        Runs of versions before noted as ``store`` the one they had asked for, which need not have answered.
        """
        return {
            str(event.detail["read_from"])
            for event in self.events()
            if event.act == "verified" and event.image == image and "read_from" in event.detail
        }

    def unread_copies(self, image: str) -> set[str]:
        """Return the stores that an image was to be copied to and was not read back from since.

        A run was killed in between, or the copy was not as it should be.
        """
        unread: set[str] = set()
        for event in self.events():
            if event.image != image:
                continue
            if event.act == "copy":
                unread.update(map(str, event.detail.get("stores", ())))
            elif event.act == "verified":
                store = str(event.detail.get("read_from", event.detail.get("store", "")))
                # One reading is all there is where the service does not say which store it is from.
                unread = unread - {store} if store else set()
        return unread

    def copy_was_refused(self) -> bool:
        """Return whether this cloud refused to copy images for this user: then nothing is sent twice."""
        # Runs of versions before noted only that they imported instead.
        return any(event.act in ("copy refused", "import") for event in self.events())

    @property
    def _older(self) -> Path:
        return self.path.with_suffix(".older.jsonl")

    def _shorten(self) -> None:
        if self.path.is_file() and self.path.stat().st_size > _KEPT:
            self.path.replace(self._older)


def journal_file(home: Home, cloud: str, recipe: str) -> Path:
    """Return where the journal of ``recipe`` on ``cloud`` lies."""
    return home.root / "publishing" / "journal" / file_name(cloud) / f"{file_name(recipe)}.jsonl"


def lock_file(home: Home, cloud: str, recipe: str) -> Path:
    """Return the lock that guards publishing ``recipe`` to ``cloud``."""
    return home.root / "publishing" / "locks" / file_name(cloud) / f"{file_name(recipe)}.lock"


def file_name(name: str) -> str:
    """Return a cloud's name as a file name: operators may call theirs anything."""
    return re.sub(r"[^A-Za-z0-9._-]", lambda match: f"%{ord(match[0]):x}", name).replace("..", "%2e%2e") or "%"


def _parse(line: str) -> JournalEvent | None:
    try:
        document = json_text.loads(line)
        return JournalEvent(**document) if isinstance(document, dict) else None
    except (ValueError, TypeError):
        return None
