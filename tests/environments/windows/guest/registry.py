"""The registry of the installed Windows, on its disk."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from tests.environments.windows.guest.machine import WINDOWS

_TEXT = 1  # REG_SZ


class Software:
    """The hive SOFTWARE, or another; what was changed is written at the block's end."""

    def __init__(self, name: str = "SOFTWARE") -> None:
        import hivex

        self._hive: Any = hivex.Hivex(str(WINDOWS / "Windows/System32/config" / name), write=True)

    def __enter__(self) -> Software:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._hive.commit(None)

    def get(self, key: str, name: str) -> str:
        """A value; empty without it."""
        return self.values(key).get(name, "")

    def values(self, key: str) -> dict[str, str]:
        """All values of a key; they are texts."""
        found = {}
        for value in self._hive.node_values(self._node(key)):
            data: bytes = self._hive.value_value(value)[1]
            found[str(self._hive.value_key(value))] = data.decode("utf-16-le").rstrip("\0")
        return found

    def set(self, key: str, name: str, text: str) -> None:
        """Set a value."""
        self._hive.node_set_value(self._node(key), _entry(name, text))

    def forget(self, key: str, name: str) -> None:
        """Remove a value."""
        rest = [_entry(known, text) for known, text in self.values(key).items() if known != name]
        self._hive.node_set_values(self._node(key), rest)

    def _node(self, key: str) -> Any:
        node = self._hive.root()
        for part in key.split("\\"):
            node = self._hive.node_get_child(node, part) or self._hive.node_add_child(node, part)
        return node


def _entry(name: str, text: str) -> dict[str, Any]:
    return {"key": name, "t": _TEXT, "value": f"{text}\0".encode("utf-16-le")}
