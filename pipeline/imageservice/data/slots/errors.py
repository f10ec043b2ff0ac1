"""Define what those are told that get no slot, or have to give theirs up."""

from __future__ import annotations

from pipeline.imageservice.errors import ServiceError, Unavailable


class Preempted(ServiceError):
    """Others waited, and this transfer had to end for them."""

    def __init__(self, rate: float, seconds: float, *, slow: bool) -> None:
        why = (
            f"it moved less than {rate / 1024:g} KiB a second over the last {seconds:g} seconds"
            if slow
            else "it was the slowest of the project that had the most at once"
        )
        super().__init__(f"This transfer was ended because others waited for its slot, and {why}; try it again")


class NoSlot(Unavailable):
    """Too much is going on; ``retry_after``: seconds after which it may be otherwise."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
