"""Open the stores that the settings configure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from pipeline.base.errors import PipelineError
from pipeline.imageservice.stores.base import DriverContext, Store
from pipeline.imageservice.stores.errors import StoreUnavailable
from pipeline.imageservice.stores.options import AnyStoreOptions
from pipeline.imageservice.stores.registry import make_store


class Stores:
    """The configured stores by id, and the default one."""

    def __init__(self, stores: Iterable[Store], default: str) -> None:
        self._stores = {store.id: store for store in stores}
        if default not in self._stores:
            known = ", ".join(self._stores)
            raise PipelineError(f"the default store {default!r} is not configured", hint=f"configured are: {known}")
        self.default = self._stores[default]

    @classmethod
    def configured(
        cls, options: Iterable[AnyStoreOptions], default: str, context: DriverContext | None = None
    ) -> Stores:
        """Make every store the settings name; nothing is contacted yet."""
        return cls([make_store(one, context or DriverContext()) for one in options], default)

    def __getitem__(self, identifier: str) -> Store:
        """Return the store of that id. Raises ``KeyError``."""
        return self._stores[identifier]

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._stores

    def __iter__(self) -> Iterator[Store]:
        """In the settings' order."""
        return iter(self._stores.values())

    def __len__(self) -> int:
        return len(self._stores)

    @property
    def several(self) -> bool:
        """Whether clients get to choose a store at all."""
        return len(self._stores) > 1

    @property
    def writable(self) -> list[Store]:
        """The stores that take new images: what ``all_stores`` means, in the settings' order."""
        return [store for store in self if store.capabilities.writable]

    def owner(self, uri: str) -> Store | None:
        """Return the store in which ``uri`` lies, if any does; for addresses that come without a store's id.

        A store that would have to be asked, and is down, does not stand in the way of the others.
        """
        scheme = uri.partition(":")[0]
        for store in self:
            with contextlib.suppress(StoreUnavailable):
                if scheme in store.schemes and store.owns(uri):
                    return store
        return None

    def by_weight(self) -> list[Store]:
        """Return the heaviest first; equal ones by id, so that the order is the same everywhere."""
        return sorted(self, key=lambda store: (-store.weight, store.id))

    def close(self) -> None:
        """Give back every store's connections."""
        for store in self:
            store.close()
