"""What a cloud can answer that is not what was asked for."""

from __future__ import annotations

from pipeline.base.errors import PipelineError


class CloudError(PipelineError):
    """Something a cloud did or did not do. The message names the cloud."""


class Unreachable(CloudError):
    """No answer, or one that says the service is in trouble (429, 5xx).

    Whether the request took effect is unknown; what is to be done can be tried again.
    """


class Refused(CloudError):
    """A clear no. ``status`` is the HTTP code."""

    def __init__(self, message: str, *, status: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class NotThere(Refused):
    """404: it does not exist, or this user may not know of it."""


class Conflict(Refused):
    """409: it is not in a state in which this can be done, or is in use."""


class NotAllowed(Refused):
    """401 or 403: this user may not do it."""


class Stuck(CloudError):
    """The cloud took the work and then nothing moved any more."""


class WrongBytes(CloudError):
    """What the cloud holds is not what was sent."""


class Contended(CloudError):
    """Another runner is publishing the same recipe to the same cloud."""
