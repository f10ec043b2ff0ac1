"""Set up the log of the service's processes: lines on standard error, from the settings' `log_level` on."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Literal

from pipeline.base import plain_text

Level = Literal["debug", "info", "warning", "error"]
_ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def set_up(level: Level) -> None:
    """Log from ``level`` on, in this process and those that it starts; calling it again changes the level."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler])  # nothing where the log goes elsewhere already
    number = logging.getLevelNamesMapping()[level.upper()]
    # At debug libraries write tokens and keys of stores into the log: theirs begins at info.
    logging.getLogger().setLevel(max(number, logging.INFO))
    logging.getLogger("imageservice").setLevel(number)
    # Events that are asked for are no chatter.
    logging.getLogger("imageservice.events").setLevel(min(number, logging.INFO))
    logging.getLogger("alembic").setLevel(max(number, logging.WARNING))


class OneLine(logging.Formatter):
    """Keeps what clients sent, and we log, within its line; what a traceback has of it stays behind a margin."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its name in the library
        """See ``logging.Formatter``; a traceback comes after it, in lines of its own."""
        return plain_text.one_line(super().formatMessage(record))

    def formatException(self, ei: _ExceptionInfo) -> str:  # noqa: N802 - its name in the library
        """See ``logging.Formatter``."""
        return _behind_margin(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - its name in the library
        """See ``logging.Formatter``."""
        return _behind_margin(super().formatStack(stack_info))


def _behind_margin(text: str) -> str:
    """Return lines of which none can pass for the beginning of an entry."""
    return "\n".join(f"  {plain_text.one_line(line)}" for line in text.splitlines())
