"""Name how fetching from a server fails: in passing, for good, or so that it has to begin anew."""

from __future__ import annotations

from pipeline.imageservice.errors import ServiceError, Unavailable


class FetchBroken(Unavailable):
    """The server broke off, is in trouble or does not answer; asking again may help.

    ``retry_after``: for how many seconds it wants to be left alone.
    """

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class FetchStalled(FetchBroken):
    """The server takes longer than it may: to connect, to answer, or to go on."""


class FetchUnreachable(FetchBroken):
    """The host has no address now that may be reached: its name is not known, or leads to an inner network."""


class StartAnew(FetchBroken):
    """The server broke off and cannot send the rest: only the whole, from its first byte.

    ``counted``: the failure behind it has been counted and waited for.
    """

    def __init__(self, message: str, *, retry_after: float = 0.0, counted: bool = False) -> None:
        super().__init__(message, retry_after=retry_after)
        self.counted = counted


class FetchRefused(ServiceError):
    """The server answers, but not with the data. ``status``: the code of HTTP, where it is that.

    ``total``: the bytes of the whole, where the server said so.
    """

    def __init__(self, message: str, *, status: int | None = None, total: int | None = None) -> None:
        super().__init__(message)
        self.status, self.total = status, total
