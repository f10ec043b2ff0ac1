"""Share out the process's memory for image data between its stores."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Protocol

from pipeline.imageservice.errors import Unavailable
from pipeline.imageservice.stores.errors import StoreFull

_TIMEOUT = 60.0  # seconds to wait for memory before an upload is refused


class Budget(Protocol):
    """The process's memory for image data on its way (``data.buffers``)."""

    def reserve(self, size: int, deadline: float | None = None) -> contextlib.AbstractContextManager[None]:
        """Count ``size`` bytes as used while the block runs. Raises ``Unavailable`` after ``deadline``."""


class Unlimited:
    """A budget that counts nothing."""

    def reserve(self, size: int, deadline: float | None = None) -> contextlib.AbstractContextManager[None]:
        """Grant always."""
        return contextlib.nullcontext()


class Share:
    """What one store may have of a budget: a part, so that a store that hangs leaves the others theirs.

    A claim larger than the part is granted when nothing else of it is in use.
    """

    def __init__(self, budget: Budget, limit: int) -> None:
        self._budget, self._limit = budget, limit
        self._changed = threading.Condition()
        self._used = 0

    @contextlib.contextmanager
    def reserve(self, size: int, deadline: float | None = None) -> Iterator[None]:
        """See ``Budget.reserve``."""
        with self._changed:
            wait_for = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._changed.wait_for(lambda: self._used == 0 or self._used + size <= self._limit, wait_for):
                raise Unavailable("The store is taking as many images as it can; try again later")
            self._used += size
        try:
            with self._budget.reserve(size, deadline):
                yield
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()


@contextlib.contextmanager
def reserve(budget: Budget, size: int, timeout: float = _TIMEOUT) -> Iterator[None]:
    """Hold ``size`` bytes of the budget while the block runs.

    Raises ``Unavailable`` when they don't come free within ``timeout`` seconds, ``StoreFull`` when they never can.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(budget.reserve(size, time.monotonic() + timeout))
        except ValueError as error:
            raise StoreFull("the image is too large for the memory the service may use", detail=str(error)) from None
        yield
