"""Print every event as a JSON object on a line of its own: for programs."""

from __future__ import annotations

import json
import sys
from typing import TextIO

from pipeline.engine.record.events import Event


class JsonLines:
    """Writes JSON lines to a stream."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout

    def event(self, event: Event) -> None:
        """Write it."""
        print(json.dumps(event.as_dict()), file=self.stream, flush=True)

    def tick(self) -> None:
        """Do nothing: only events are written."""

    def close(self) -> None:
        """Do nothing: there is nothing to put in order."""
