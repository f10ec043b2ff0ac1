"""Read a registry hive of Windows within the appliance, which parses it: it is as hostile as the rest of an image.

Names in it are UTF-16 that need not be valid. libguestfs fails at such a name, and at each look at its neighbours;
here the neighbours are found.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

# Keys below a key, and values of one, that are looked at.
MOST = 10_000
# Of libguestfs, which cannot convert the name; of its bindings, which got one that is not UTF-8.
_ODD = (RuntimeError, UnicodeDecodeError)


class Hive:
    """The hive that the appliance has open; it opens one at a time. ``odd`` counts names that could not be read."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.odd = 0

    def root(self) -> int:
        """Return the topmost key."""
        return int(self._handle.hivex_root())

    def children(self, node: int) -> Iterator[tuple[str, int]]:
        """Yield the keys below a key."""
        for each in self._handle.hivex_node_children(node)[:MOST]:
            child = int(each["hivex_node_h"])
            yield from self._named(self._handle.hivex_node_name, child)

    def child(self, node: int, name: str) -> int | None:
        """Return the key of that name below a key, whatever its case; ``None`` without it."""
        with contextlib.suppress(*_ODD):
            return int(self._handle.hivex_node_get_child(node, name)) or None
        return next((child for found, child in self.children(node) if _same(found, name)), None)

    def values(self, node: int) -> Iterator[tuple[str, int]]:
        """Yield the values of a key: name and handle."""
        for each in self._handle.hivex_node_values(node)[:MOST]:
            yield from self._named(self._handle.hivex_value_key, int(each["hivex_value_h"]))

    def value(self, node: int, name: str) -> int | None:
        """Return the value of that name, whatever its case; ``None`` without it."""
        with contextlib.suppress(*_ODD):
            return int(self._handle.hivex_node_get_value(node, name)) or None
        return next((value for found, value in self.values(node) if _same(found, name)), None)

    def data(self, value: int) -> bytes:
        """Return a value's bytes."""
        return bytes(self._handle.hivex_value_value(value))

    def kind(self, value: int) -> int:
        """Return a value's type, by its number in Windows (4 is REG_DWORD)."""
        return int(self._handle.hivex_value_type(value))

    def _named(self, ask: Callable[[int], str], item: int) -> Iterator[tuple[str, int]]:
        try:
            name = str(ask(item))
        except _ODD:
            self.odd += 1
            return
        yield name, item


@contextlib.contextmanager
def opened(handle: Any, path: str) -> Iterator[Hive]:
    """Open a hive of the file system that is mounted, for reading."""
    handle.hivex_open(path)
    try:
        yield Hive(handle)
    finally:
        handle.hivex_close()


def _same(name: str, other: str) -> bool:
    return name.casefold() == other.casefold()
