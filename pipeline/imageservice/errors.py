"""Define what can go wrong in the service, named by what happened and not by an HTTP code.

Every part of the service raises these; ``api/problems.py`` holds the one table that turns them into answers. The
message goes to the client: it says what was refused and why, and never holds a backend's URL, a credential or the text
of a foreign exception (``detail`` keeps that for the log).
"""

from __future__ import annotations

from pipeline.base.errors import PipelineError


class ServiceError(PipelineError):
    """Something the client is told. ``detail`` goes to the log only."""

    def __init__(self, message: str, *, hint: str | None = None, detail: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.detail = detail

    def in_full(self) -> PipelineError:
        """See ``PipelineError``."""
        return PipelineError(self.message, details=[self.detail] if self.detail else [], hint=self.hint)


class Invalid(ServiceError):
    """The request itself is wrong: body, parameter, header, value."""


class NotAuthenticated(ServiceError):
    """No token, or one that is not valid."""


class Forbidden(ServiceError):
    """The caller can see the thing and may not do this to it."""


class NotFound(ServiceError):
    """There is no such thing, or the caller may not know of it."""


class MethodNotAllowed(ServiceError):
    """The path exists, the method does not. ``allowed`` lists those that do."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(f"This path answers {', '.join(allowed) or 'no method'} only.")
        self.allowed = allowed


class Conflict(ServiceError):
    """The thing is not in a state in which this can be done, or somebody else was faster."""


class Duplicate(Conflict):
    """A thing of this name exists already."""


class InUse(Conflict):
    """The backend holds on to the data: it is mapped, or has snapshots or clones."""


class Gone(ServiceError):
    """It was there when the request began and was deleted meanwhile."""


class LimitExceeded(ServiceError):
    """A quota or a fixed limit would be passed."""


class UnsupportedContent(ServiceError):
    """The media type is not one this call takes, or the bytes are not what they are said to be."""


class Misdirected(ServiceError):
    """The request was meant for another server, by the name it calls this one."""


class RangeNotSatisfiable(ServiceError):
    """The range lies outside the data, or is not one. ``size`` is the length of the whole, in bytes."""

    def __init__(self, message: str, *, size: int | None = None) -> None:
        super().__init__(message)
        self.size = size


class HeaderTooLong(ServiceError):
    """A header is longer than the service takes."""


class NotImplementedVerb(ServiceError):
    """An HTTP verb nobody knows."""


class Unavailable(ServiceError):
    """A store or the database does not answer now; the same request may work later."""


class UpstreamFailed(ServiceError):
    """Another node of the service answered with something that makes no sense."""


class UpstreamTimeout(ServiceError):
    """Another node of the service did not answer in time."""


class StoreFailed(ServiceError):
    """A store failed in a way that retrying does not mend: the operator has to look."""
