"""Inherit recipes: files as trees whose every value knows its location, one laid over the other.

Maps merge, everything else replaces. ``+key`` appends to the list below, ``null`` removes what is below. A part that
says another ``method`` replaces the whole part, since the options of one method mean nothing to another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.base.yaml_source import Position, YamlPath, YamlSource

Path = YamlPath


@dataclass(frozen=True)
class RecipeProblem:
    """One mistake: where it stands in which file, what it concerns, and what is wrong with it."""

    location: Position
    path: Path
    message: str

    def __str__(self) -> str:
        where = dotted(self.path)
        return f"{self.location}: {where}: {self.message}" if where else f"{self.location}: {self.message}"


@dataclass(frozen=True)
class YamlNode:
    """A value and its place. ``value`` is a dict of nodes, a list of nodes, or a scalar."""

    value: Any
    location: Position

    @property
    def is_map(self) -> bool:
        """Whether this is a mapping."""
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        """Whether this is a list."""
        return isinstance(self.value, list)

    def get(self, key: str) -> Any:
        """Return the plain value under ``key`` of a mapping, or ``None``."""
        child = self.value.get(key) if self.is_map else None
        return plain(child) if child is not None else None

    def at(self, path: Path) -> YamlNode:
        """Return the node at ``path``; where that is missing, its nearest parent."""
        node = self
        for part in path:
            child = node._child(part)
            if child is None:
                break
            node = child
        return node

    def _child(self, part: str | int) -> YamlNode | None:
        if self.is_map:
            return self.value.get(part)  # type: ignore[no-any-return]
        if self.is_list and isinstance(part, int) and part < len(self.value):
            return self.value[part]  # type: ignore[no-any-return]
        return None


@dataclass
class Overlay:
    """Lays trees over one another and collects what does not fit."""

    problems: list[RecipeProblem] = field(default_factory=list)

    def lay(self, below: YamlNode | None, above: YamlNode, path: Path = ()) -> YamlNode:
        """Lay ``above`` over ``below``, and return the result."""
        if not above.is_map:
            return self._cleaned(above, path)
        replaces = below is None or not below.is_map or _methods_differ(below, above)
        merged: dict[str, YamlNode] = {} if replaces or below is None else dict(below.value)
        for key, child in above.value.items():
            self._put(merged, key, child, above, path)
        return YamlNode(merged, above.location)

    def _put(self, merged: dict[str, YamlNode], key: str, child: YamlNode, above: YamlNode, path: Path) -> None:
        if key.startswith("+"):
            self._append(merged, key[1:], child, above, path)
        elif child.value is None:
            merged.pop(key, None)
        else:
            merged[key] = self.lay(merged.get(key), child, (*path, key))

    def _append(self, merged: dict[str, YamlNode], key: str, child: YamlNode, above: YamlNode, path: Path) -> None:
        here = (*path, f"+{key}")
        below = merged.get(key)
        if key in above.value:
            self.problems.append(RecipeProblem(child.location, here, f"'{key}' and '+{key}' together are ambiguous"))
        elif not child.is_list:
            self.problems.append(RecipeProblem(child.location, here, "only lists can be appended to; give a list"))
        elif below is not None and not below.is_list:
            self.problems.append(
                RecipeProblem(child.location, here, f"'{key}' ({below.location}) is not a list; drop the '+'")
            )
        else:
            added = self._cleaned(child, (*path, key)).value
            merged[key] = YamlNode([*(below.value if below else ()), *added], child.location)

    def _cleaned(self, node: YamlNode, path: Path) -> YamlNode:
        """``node`` with the same rules applied to the maps inside its lists."""
        if not node.is_list:
            return node
        return YamlNode([self.lay(None, item, (*path, index)) for index, item in enumerate(node.value)], node.location)


def tree(source: YamlSource) -> YamlNode:
    """Return the tree of a YAML document."""
    return _node(source, source.data, ())


def plain(node: YamlNode) -> Any:
    """Return the data of a tree without its locations."""
    if node.is_map:
        return {key: plain(child) for key, child in node.value.items()}
    if node.is_list:
        return [plain(child) for child in node.value]
    return node.value


def dotted(path: Path) -> str:
    """Return a path as people write it: ``products[0].format``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _node(source: YamlSource, data: Any, path: Path) -> YamlNode:
    location = source.position(path)
    if isinstance(data, dict):
        return YamlNode({key: _node(source, value, (*path, key)) for key, value in data.items()}, location)
    if isinstance(data, list):
        return YamlNode([_node(source, value, (*path, index)) for index, value in enumerate(data)], location)
    return YamlNode(data, location)


def _methods_differ(below: YamlNode, above: YamlNode) -> bool:
    old, new = below.get("method"), above.get("method")
    return old is not None and new is not None and old != new
