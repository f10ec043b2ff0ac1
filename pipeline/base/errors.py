"""Define the one error type for people."""

from __future__ import annotations

from collections.abc import Sequence


class PipelineError(Exception):
    """Something a person has to know about: what failed, where, and how to mend it.

    ``message`` says what is wrong and where; ``hint`` says what to do next; ``details`` carries further
    lines (every one of several validation errors, the tail of a log). The face prints it without a traceback.
    """

    def __init__(self, message: str, *, hint: str | None = None, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)

    def in_full(self) -> PipelineError:
        """Return the error with all that whoever runs this machine may read, which can be more than clients may."""
        return self

    def __str__(self) -> str:
        lines = [self.message, *(f"  {line}" for line in self.details)]
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)
