"""Set up the log of the service's processes: lines on standard error, from the settings' `log_level` on."""

from __future__ import annotations

import logging
from typing import Literal

from pipeline.base import plain_text

Level = Literal["debug", "info", "warning", "error"]


def set_up(level: Level) -> None:
    """Log from ``level`` on, in this process and those that it starts; calling it again changes the level."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler])  # nothing where the log goes elsewhere already
    number = logging.getLevelNamesMapping()[level.upper()]
    # At debug libraries write tokens and keys of stores into the log: theirs begins at info.
    logging.getLogger().setLevel(max(number, logging.INFO))
    logging.getLogger("imageservice").setLevel(number)
    # Events that are asked for are no chatter.
    logging.getLogger("imageservice.events").setLevel(min(number, logging.INFO))
    logging.getLogger("alembic").setLevel(max(number, logging.WARNING))


class _OneLine(logging.Formatter):
    """Keeps what clients sent, and we log, within its line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its name in the library
        """See ``logging.Formatter``; a traceback comes after it, in lines of its own."""
        return plain_text.one_line(super().formatMessage(record))
