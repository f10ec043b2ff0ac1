"""Read from a module's text, without running it, what it defines: names, digests, and what each definition uses.

A definition is all that binds one name at module level: a function, a class, a constant. See ``closure``.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

# Fields of syntax trees that say nothing of what code does, or nothing that other fields do not.
_SILENT = {"annotation", "returns", "ctx", "type_comment", "type_params", "kind", "simple"}
# What annotations of a class's fields say beside a type (dataclasses).
_KINDS = {"ClassVar", "InitVar", "KW_ONLY"}
Name = tuple[str, ...]


@dataclass
class Used:
    """What some code uses.

    ``names``: each name with the attributes asked of it: ``("kernel", "newest")``. Where a variable has the name of
    something in the module, that is meant as well, which is safe and rare. ``imports``: what it imports itself.
    ``attributes``: every attribute asked of anything, and every text that could name one.
    """

    names: set[Name] = field(default_factory=set)
    imports: dict[str, str] = field(default_factory=dict)
    attributes: set[str] = field(default_factory=set)


class Module:
    """A parsed module.

    ``bound`` has the statements that bind each name, ``imports`` the absolute name behind each imported one, ``stars``
    the modules it takes everything from, ``loose`` the statements that do something else.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        self.bound: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, str] = {}
        self.stars: list[str] = []
        self.loose: list[ast.stmt] = []
        for statement in ast.parse(path.read_bytes()).body:
            self._add(statement)

    def _add(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Import() | ast.ImportFrom():
                self.imports.update(_imported(statement, self.package))
                if star := self.imports.pop("*", None):
                    self.stars.append(star.removesuffix(".*"))
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=[]):
                for each in statement.body:
                    self._add(each)
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case _:
                names = _defined(statement)
                for name in names:
                    self.bound.setdefault(name, []).append(statement)
                if not names:
                    self.loose.append(statement)

    @functools.cache  # noqa: B019 - for as long as the module itself
    def definition(self, name: str) -> tuple[str, Used]:
        """Return a definition's digest, and what it uses."""
        return self.read(self.bound[name])

    def read(self, nodes: Iterable[ast.AST]) -> tuple[str, Used]:
        """Return the digest of code at the module's own level, and what it uses.

        The digest is that of the syntax tree, the same under each version of Python; docstrings, annotations, positions
        and comments are not part of it, but where its names come from is.
        """
        reader = _Reader(self.package)
        shapes = reader.shape(list(nodes))
        roots = sorted({name[0] for name in reader.used.names} & self.imports.keys())
        text = "".join([shapes, *(f"{root}={self.imports[root]};" for root in roots)])
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32], reader.used


def _imported(statement: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, str]]:
    """Yield the names that an import binds, and the absolute name behind each."""
    if isinstance(statement, ast.Import):
        for each in statement.names:
            yield each.asname or each.name.partition(".")[0], each.name if each.asname else each.name.partition(".")[0]
        return
    parts = package.split(".")
    above = parts[: len(parts) - statement.level + 1] if statement.level else []
    for each in statement.names:
        yield each.asname or each.name, ".".join([*above, *filter(None, [statement.module]), each.name])


def _defined(statement: ast.stmt) -> list[str]:
    """Return the names that a statement defines; none if it does anything else."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            parts = [part for each in targets for each in [each] for part in getattr(each, "elts", [each])]
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            parts = [target]
        case _:
            return []
    names = [part.id for part in parts if isinstance(part, ast.Name)]
    return names if len(names) == len(parts) else []


class _Reader:
    """Goes through code once, for what it does and for what it uses."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.used = Used()

    def shape(self, node: object) -> str:
        """Return the text that two pieces of code share if they do the same."""
        match node:
            case list():
                return f"[{','.join(self.shape(each) for each in node if not _is_text(each))}]"
            case ast.AnnAssign():
                kinds = {part.id for part in ast.walk(node.annotation) if isinstance(part, ast.Name)} & _KINDS
                return f"Assign({sorted(kinds)}[{self.shape(node.target)}],{self.shape(node.value)})"
            case ast.Assign():
                return f"Assign([]{self.shape(node.targets)},{self.shape(node.value)})"
            case ast.Name() | ast.Attribute():
                return self._chain(node)
            case ast.Constant(value=str(text)):
                self.used.attributes.add(text)
            case ast.Import() | ast.ImportFrom():
                self.used.imports.update(_imported(node, self.package))
            case ast.AST():
                pass
            case _:
                return repr(node)
        parts = [(name, value) for name, value in ast.iter_fields(node) if name not in _SILENT]
        # Newer versions of Python have more fields, empty where nothing is said by them.
        fields = [f"{name}={self.shape(value)}" for name, value in parts if value not in (None, []) or name == "value"]
        return f"{type(node).__name__}({','.join(fields)})"

    def _chain(self, node: ast.expr) -> str:
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.insert(0, node.attr)
            node = node.value
        self.used.attributes.update(attributes)
        if not isinstance(node, ast.Name):
            return ".".join([self.shape(node), *attributes])
        self.used.names.add((node.id, *attributes))
        return ".".join([node.id, *attributes])


def _is_text(node: object) -> bool:
    """Tell whether it is a docstring, or another text that nothing is done with."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
