"""Watch how the stores are, in threads of their own: nobody waits for a store that hangs.

A store is looked at when somebody asks and the last look is older than ``_FRESH`` seconds. There is one look at a time,
so a store that hangs costs one thread, and it is known to hang when a look has taken longer than ``_HUNG`` seconds.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable

from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.stores.base import Store
from pipeline.imageservice.stores.errors import StoreSilent

log = logging.getLogger("imageservice.stores")

_FRESH = 5.0
_FRESH_WHEN_DOWN = 1.0
_HUNG = 10.0
_TIMEOUT = 2.0  # how long whoever asks first waits for an answer


def first_look(stores: Iterable[Store], timeout: float = _HUNG) -> dict[str, str]:
    """Return what is wrong with stores, by their ids and in words for operators: look at all at once, within
    ``timeout`` seconds.

    They must be nobody else's, since a look that hangs goes on after this has returned.
    """
    watches = {store.id: _StoreWatch(store) for store in stores}
    until = time.monotonic() + timeout
    for watch in watches.values():
        watch.look()
    found = {name: watch.fault(until - time.monotonic()) for name, watch in watches.items()}
    return {name: watches[name].explained(fault) for name, fault in found.items() if fault is not None}


class StoreHealth:
    """The state of every store. It may be made before a fork; each process looks for itself."""

    def __init__(self, stores: Iterable[Store]) -> None:
        self._watches = {store.id: _StoreWatch(store) for store in stores}

    def faults(self) -> dict[str, str | None]:
        """Return what is wrong with each store, by its id and in words for users; ``None``: nothing.

        Takes two seconds at most.
        """
        until = time.monotonic() + _TIMEOUT
        for watch in self._watches.values():
            watch.fault(0)  # begins to look
        return {name: watch.fault(until - time.monotonic()) for name, watch in self._watches.items()}

    def is_down(self, store: Store) -> bool:
        """Return whether a store is known not to answer at all; one that only takes no writes does. Takes no time."""
        return store.id in self._watches and self._watches[store.id].is_down()

    def require(self, store: Store) -> None:
        """Raise ``StoreSilent`` for a store that is known not to answer, instead of waiting for it in vain."""
        if self.is_down(store):
            raise StoreSilent(f"store {store.id} does not answer", detail="found out by its last check")

    def doubt(self, store: Store) -> None:
        """Look at a store now, in which something has failed, whenever the last time was."""
        if store.id in self._watches:
            self._watches[store.id].look()


class _StoreWatch:
    """What is known of one store. ``_fault`` is an empty text when nothing is wrong, ``None`` when nothing is known."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed = threading.Condition()  # of a lock that its holder may take again
        self._process = os.getpid()
        self._fault: str | None = None
        self._detail = ""
        self._silent = False
        self._begun: float | None = None
        self._ended = float("-inf")

    def is_down(self) -> bool:
        """Whether it is known not to answer."""
        self.fault(0)  # begins to look when it is time to
        with self._changed:
            return self._silent or self._hangs

    def fault(self, timeout: float) -> str | None:
        """Return what is wrong, as far as it gets known within ``timeout`` seconds."""
        until = time.monotonic() + timeout
        with self._changed:
            if self._process != os.getpid():
                self._process = os.getpid()
                self._fault, self._silent, self._begun, self._ended = None, False, None, float("-inf")
            if time.monotonic() - self._ended > (_FRESH_WHEN_DOWN if self._fault else _FRESH):
                self.look()
            # What was found long ago says little.
            while (self._fault is None or self._begun is not None) and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            if self._hangs:
                return f"store {self._store.id} does not answer"
            if self._fault is None:
                return f"store {self._store.id} has not answered yet"
            return self._fault or None

    def explained(self, fault: str) -> str:
        """Return ``fault`` with what only operators may read of it."""
        with self._changed:
            return f"{fault}: {self._detail}" if self._detail and fault == self._fault else fault

    def look(self) -> None:
        """Look at it, in the background."""
        with self._changed:
            if self._begun is None:
                self._begun = time.monotonic()
                threading.Thread(target=self._look, name=f"check {self._store.id}", daemon=True).start()

    @property
    def _hangs(self) -> bool:
        return self._begun is not None and time.monotonic() - self._begun > _HUNG

    def _look(self) -> None:
        fault, detail, silent = "", "", False
        try:
            self._store.check()
        except ServiceError as error:
            fault, detail, silent = error.message, error.detail or "", isinstance(error, StoreSilent)
        except Exception:
            log.exception("store %s could not be looked at", self._store.id)
            fault = f"store {self._store.id} has a fault"
        with self._changed:
            self._fault, self._detail, self._silent = fault, detail, silent
            self._begun, self._ended = None, time.monotonic()
            self._changed.notify_all()
