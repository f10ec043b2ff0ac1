"""Read YAML and remember on which line each value stands.

``load`` returns plain data and a map from paths (tuples of keys and indices) to ``Position``s, so that a
validation error can say file, line and path. Only the safe subset of YAML is read (no Python objects), aliases
are bounded, and a key given twice is an error: pyyaml would silently keep the last one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline.base.errors import PipelineError

YamlPath = tuple[str | int, ...]
MAX_BYTES = 1 << 20
MAX_NODES = 50_000


@dataclass(frozen=True)
class Position:
    """A place in a YAML file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class YamlSource:
    """The data of one YAML document and where each part of it stands."""

    file: str
    data: Any
    positions: Mapping[YamlPath, Position] = field(repr=False)

    def position(self, path: YamlPath) -> Position:
        """Return where ``path`` stands; for something that is missing, where its nearest parent stands."""
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path, Position(self.file, 1, 1))


def load(file: Path, *, name: str | None = None) -> YamlSource:
    """Read ``file``. Raises ``PipelineError`` with the place when it can't be read or is not plain YAML."""
    shown = name or str(file)
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        raise PipelineError(f"{shown}: there is no such file") from None
    except OSError as error:
        raise PipelineError(f"{shown}: cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise PipelineError(f"{shown}: larger than {MAX_BYTES >> 20} MiB; this is not a file people write")
    try:
        return loads(raw.decode(), name=shown)
    except UnicodeDecodeError as error:
        raise PipelineError(f"{shown}: not UTF-8 at byte {error.start}", hint="save the file as UTF-8") from None


def loads(text: str, *, name: str = "<text>") -> YamlSource:
    """Read ``text`` as one YAML document."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise _broken(name, error) from None
    except RecursionError:
        raise PipelineError(f"{name}: nested too deeply") from None
    if node is None:
        return YamlSource(name, None, {})
    builder = _DataBuilder(name)
    data = builder.build(node, ())
    return YamlSource(name, data, builder.positions)


def _broken(name: str, error: yaml.YAMLError) -> PipelineError:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    location = f"{name}:{mark.line + 1}" if mark else name
    return PipelineError(f"{location}: not valid YAML: {problem}")


class _DataBuilder:
    """Turns composed nodes into data, noting positions; refuses what has no place in a settings file."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.positions: dict[YamlPath, Position] = {}
        self._constructor = yaml.SafeLoader("")
        self._nodes = 0

    def build(self, node: yaml.Node, path: YamlPath) -> Any:
        self._nodes += 1
        location = Position(self.name, node.start_mark.line + 1, node.start_mark.column + 1)
        if self._nodes > MAX_NODES or len(path) > 64:
            raise PipelineError(f"{location}: too large or nested too deeply once its aliases are expanded")
        self.positions.setdefault(path, location)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, location)

    def _mapping(self, node: yaml.MappingNode, path: YamlPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            location = Position(self.name, key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                raise PipelineError(f"{location}: a key must be plain text")
            key = key_node.value
            if key in result:
                raise PipelineError(f"{location}: the key {key!r} is given twice")
            self.positions[(*path, key)] = location
            result[key] = self.build(value_node, (*path, key))
        return result

    def _scalar(self, node: yaml.Node, location: Position) -> Any:
        try:
            return self._constructor.construct_object(node, deep=True)
        except yaml.MarkedYAMLError as error:
            raise PipelineError(f"{location}: {error.problem}") from None
        except (ValueError, ArithmeticError, LookupError, AttributeError):
            # pyyaml lets out whatever int(), one of its tables or a regular expression that did not match raises.
            kind = node.tag.rpartition(":")[2]
            raise PipelineError(f"{location}: {node.value[:80]!r} is not a valid {kind}") from None
