"""Define what a cloud can answer that is not what was asked for."""

from __future__ import annotations

from pipeline.base.errors import PipelineError


class CloudError(PipelineError):
    """Something a cloud did or did not do. The message names the cloud."""


class CloudUnreachable(CloudError):
    """No answer, or one that says the service is in trouble (429, 5xx).

    Whether the request took effect is unknown; what is to be done can be tried again.
    """


class RequestRefused(CloudError):
    """A clear no. ``status`` is the HTTP code."""

    def __init__(self, message: str, *, status: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class CloudNotFound(RequestRefused):
    """404: it does not exist, or this user may not know of it."""


class CloudConflict(RequestRefused):
    """409: it is not in a state in which this can be done, or is in use."""


class CloudForbidden(RequestRefused):
    """401 or 403: this user may not do it."""


class TransferFailed(CloudError):
    """The cloud took an upload, import or copy, and failed or stopped moving before it was done."""


class ChecksumMismatch(CloudError):
    """What the cloud holds is not what was sent."""


class OwnerUnknown(CloudError):
    """Whose images are ours is not known: the token does not tell its project, and no record was made yet."""

    def __init__(self, cloud: str, what: str = "whose images are ours cannot be told") -> None:
        super().__init__(
            f"cloud {cloud}: {what}, since the token does not tell which project it is for",
            hint="publishing finds it out by the record it makes first, and this machine knows it from then on",
        )


class Contended(CloudError):
    """Another runner is publishing the same recipe to the same cloud."""
