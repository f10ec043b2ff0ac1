"""Remember what earlier runs took and were made from, in SQLite: for estimates, and to say what changed.

A damaged or missing history costs estimates, never a build.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base import json_text
from pipeline.base.home import Home
from pipeline.base.retry import RetryPolicy

_SCHEMA = """
CREATE TABLE IF NOT EXISTS steps (
    recipe TEXT NOT NULL, step TEXT NOT NULL, accelerator TEXT NOT NULL, seconds REAL NOT NULL, good INTEGER NOT NULL,
    run TEXT NOT NULL, at TEXT NOT NULL DEFAULT (datetime('now'))
);
CREATE INDEX IF NOT EXISTS steps_by_name ON steps (recipe, step, accelerator, at);
CREATE TABLE IF NOT EXISTS latest (
    recipe TEXT NOT NULL, unit TEXT NOT NULL, key TEXT NOT NULL, document TEXT NOT NULL,
    PRIMARY KEY (recipe, unit)
);
"""
_REMEMBERED = 20
_KEPT = 100  # of a step on an accelerator
# SQLite's own timeout does not hold while a new file is switched to WAL: others that do so at once meet "locked".
_OPENING = RetryPolicy(attempts=12, first=0.01, longest=0.5)


@dataclass(frozen=True)
class UsualDuration:
    """How long a step usually takes: the median of its last good runs and their spread, in seconds."""

    median: float
    spread: float
    slowest: float
    runs: int

    @property
    def slow(self) -> float:
        """Beyond this it is slower than usual."""
        return self.median + max(3 * self.spread, 0.5 * self.median, 5.0)


class BuildHistory:
    """The history of one home, for the process that made this object."""

    def __init__(self, home: Home) -> None:
        self.file = home.root / "history.sqlite"
        self._database: sqlite3.Connection | None = None

    def note(self, recipe: str, step: str, accelerator: str, seconds: float, run: str, *, good: bool) -> None:
        """Remember how long a step took, and forget what was longest ago."""
        self._do(
            "INSERT INTO steps (recipe, step, accelerator, seconds, good, run) VALUES (?, ?, ?, ?, ?, ?)",
            (recipe, step, accelerator, seconds, good, run),
        )
        same = (recipe, step, accelerator)
        self._do(
            "DELETE FROM steps WHERE recipe = ? AND step = ? AND accelerator = ? AND rowid NOT IN (SELECT rowid FROM"
            " steps WHERE recipe = ? AND step = ? AND accelerator = ? ORDER BY rowid DESC LIMIT ?)",
            (*same, *same, _KEPT),
        )

    def usual(self, recipe: str, step: str, accelerator: str | None = None) -> UsualDuration | None:
        """Return what the step usually takes, or ``None`` when it never succeeded.

        Without ``accelerator``, on the one it ran on last.
        """
        rows = self._do(
            "SELECT seconds, accelerator FROM steps WHERE recipe = ? AND step = ? AND good AND accelerator = ifnull(?,"
            " accelerator) ORDER BY rowid DESC LIMIT ?",
            (recipe, step, accelerator, _REMEMBERED),
        )
        seconds = [row[0] for row in rows if row[1] == rows[0][1]]
        if not seconds:
            return None
        return UsualDuration(statistics.median(seconds), statistics.pstdev(seconds), max(seconds), len(seconds))

    def remember(self, recipe: str, unit: str, key: str, document: Mapping[str, Any]) -> None:
        """Remember what the newest result of a unit was made from."""
        if self._do("SELECT 1 FROM latest WHERE recipe = ? AND unit = ? AND key = ?", (recipe, unit, key)):
            return
        row = (recipe, unit, key, json.dumps(document))
        self._do("INSERT OR REPLACE INTO latest VALUES (?, ?, ?, ?)", row)

    def latest(self, recipe: str, unit: str) -> dict[str, Any] | None:
        """Return what the newest result of a unit was made from, or ``None`` when there never was one."""
        rows = self._do("SELECT document FROM latest WHERE recipe = ? AND unit = ?", (recipe, unit))
        with contextlib.suppress(ValueError, TypeError):
            return dict(json_text.loads(rows[0][0])) if rows else None
        return None

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _do(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        try:
            if self._database is None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                self._database = _connect(self.file)
            with self._database:
                return self._database.execute(query, values).fetchall()
        except sqlite3.OperationalError:
            return []  # locked for long, or the disk is full
        except sqlite3.DatabaseError:
            self.close()
            with contextlib.suppress(OSError):
                self.file.replace(self.file.with_suffix(".damaged"))
            return []


def _connect(file: Path) -> sqlite3.Connection:
    return _OPENING.call(lambda: _set_up(file), lambda error: "locked" in str(error))


def _set_up(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, timeout=10)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(_SCHEMA)
    except BaseException:
        database.close()
        raise
    return database
