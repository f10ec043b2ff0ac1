"""Define why an image is refused."""

from __future__ import annotations

from enum import StrEnum

from pipeline.base.errors import PipelineError


class RefusalReason(StrEnum):
    """Why an image was refused."""

    MISMATCH = "mismatch"  # not in the declared format
    AMBIGUOUS = "ambiguous"  # several formats at once
    UNSAFE = "unsafe"  # names files outside itself, or uses features nobody vouches for
    TOO_LARGE = "too-large"  # the virtual size, or its ratio to the file's size, is beyond the limits
    ENCRYPTED = "encrypted"
    DAMAGED = "damaged"  # says of itself that it is corrupt or was not closed
    TRUNCATED = "truncated"
    UNREADABLE = "unreadable"  # its header makes no sense


class FormatRefused(PipelineError):
    """An image that must not be stored, converted or booted, and why."""

    def __init__(
        self, reason: RefusalReason, message: str, *, detected: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.detected = detected
