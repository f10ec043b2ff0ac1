"""Write the run's own folder: what happened, the log of each step, evidence of what failed.

::

    runs/<id>/run.json                     what was asked, by whom, how it ended
    runs/<id>/junit.xml                    how it ended, for CI systems
    runs/<id>/events.jsonl                 everything that happened, one JSON object a line
    runs/<id>/<recipe>/<step>.log          what the step and its programs said
    runs/<id>/<recipe>/evidence/<step>/    serial log, screenshot, last events: only of failed steps

Names sort by time; the link ``last-run`` next to ``runs`` leads to the newest. The folder is readable for its owner
only, since logs of an installation can hold anything.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from pipeline.base import atomic
from pipeline.base.home import Home
from pipeline.base.owner import Owner
from pipeline.engine.record.events import Event, StepProgress

_PROGRESS_EVERY = 2.0


class RunJournal:
    """Writes one run down. It is a monitor that nobody looks at until something failed."""

    def __init__(self, home: Home, recipes: Sequence[str], options: dict[str, Any]) -> None:
        # By name is by time, also for two runs of one second.
        now = datetime.now(UTC)
        self.run = f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03d}{secrets.token_hex(2)}"
        self.folder = home.runs / self.run
        self.folder.mkdir(parents=True, mode=0o700)
        self._head: dict[str, Any] = {
            "run": self.run,
            "owner": Owner.current().mark,
            "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "recipes": list(recipes),
            "options": options,
            "status": "running",
        }
        self._write_head()
        self._link(home.root / "last-run")
        self._events: IO[str] = (self.folder / "events.jsonl").open("w")
        self._last_progress: dict[tuple[str, str], float] = {}

    def log(self, recipe: str, step: str) -> Path:
        """Return where the log of a step goes."""
        folder = self.folder / recipe
        folder.mkdir(exist_ok=True)
        return folder / f"{step}.log"

    def evidence(self, recipe: str, step: str) -> Path:
        """Return where the evidence of a step goes."""
        return self.folder / recipe / "evidence" / step

    def tidy(self, recipe: str) -> None:
        """Remove an empty folder of evidence: it is none."""
        folder = self.folder / recipe / "evidence"
        for path in (*folder.glob("*"), folder):
            with contextlib.suppress(OSError):
                path.rmdir()

    def event(self, event: Event) -> None:
        """Append the event; of progress, one every two seconds."""
        if isinstance(event, StepProgress) and not self._is_due(event):
            return
        self._events.write(json.dumps(event.as_dict()) + "\n")
        self._events.flush()

    def tick(self) -> None:
        """Do nothing: nothing moves on paper."""

    def close(self) -> None:
        """Close the event log; say that the run was broken off unless ``finish`` was called."""
        if not self._events.closed:
            self._events.close()
            if self._head["status"] == "running":
                self.finish("interrupted", {})

    def finish(self, status: str, results: dict[str, Any], junit: str | None = None) -> None:
        """Write how the run ended: ``good``, ``failed`` or ``interrupted``, and a summary for each recipe."""
        if junit is not None:
            atomic.write_text(self.folder / "junit.xml", junit)
        ended = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._head |= {"status": status, "ended": ended, "results": results}
        self._write_head()

    def _link(self, link: Path) -> None:
        temporary = atomic.temporary_name(link)
        temporary.symlink_to(self.folder.relative_to(link.parent))
        temporary.replace(link)

    def _write_head(self) -> None:
        atomic.write_text(self.folder / "run.json", json.dumps(self._head, indent=1) + "\n")

    def _is_due(self, event: StepProgress) -> bool:
        key = (event.recipe, event.step)
        now = time.monotonic()
        if now - self._last_progress.get(key, 0.0) < _PROGRESS_EVERY and event.done != event.total:
            return False
        self._last_progress[key] = now
        return True
