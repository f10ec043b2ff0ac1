"""Define what can go wrong in a store.

Each error is one of the service's own, so that it has its answer in the one table of answers. Its text is fit for a
user: it names the store by its id, never a host, a path, a URL or a credential; what an operator needs
beyond that is ``detail``, for the log.
"""

from __future__ import annotations

from pipeline.imageservice.errors import InUse, Invalid, LimitExceeded, ServiceError, StoreFailed, Unavailable


class StoreError(ServiceError):
    """A store could not do what it was asked."""


class ObjectMissing(StoreError, StoreFailed):
    """There is no such object in the store."""


class ObjectExists(StoreError, StoreFailed):
    """An object of that name is in the store already and was not to be replaced."""


class ObjectInUse(StoreError, InUse):
    """The object can't be deleted while something stands on it (a clone, a snapshot, an attachment)."""


class BadLocation(StoreError, Invalid):
    """The location's address is not one this store would write, or points outside of it."""


class RangeRefused(StoreError, Invalid):
    """The back end delivers objects as a whole only."""


class StoreFull(StoreError, LimitExceeded):
    """There is no room for the object."""


class WriteRefused(StoreError, Unavailable):
    """The store takes no writes: it is read-only by nature, by its settings, or after a fault."""


class StoreUnavailable(StoreError, Unavailable):
    """The store does not answer, or not in time; trying again later may help."""


class StoreSilent(StoreUnavailable):
    """Nothing answers where the store should be: no request to it has a chance."""


class StoreDamaged(StoreError, StoreFailed):
    """The store delivered fewer or other bytes than it holds on record."""
