"""Find assertions on how long something took, in the text of tests.

A busy machine fails such a test, and a fast one lets it pass for no reason. From a clock to an assertion, names,
attributes, containers, loops, comprehensions, and functions of the
module that return what they measured are followed.
"""

from __future__ import annotations

import ast
import enum
import re
from collections.abc import Iterator, Mapping, Sequence

_CLOCKS = {
    f"time.{clock}{unit}"
    for clock in ("monotonic", "perf_counter", "time", "process_time", "thread_time")
    for unit in ("", "_ns")
} | {"timeit.default_timer"}
_CALENDARS = {"datetime.datetime.now", "datetime.datetime.utcnow"}
_TIMERS = {"timeit.timeit", "timeit.repeat"}
# Calls whose result is a time where an argument is one.
_PASS_ON = {"abs", "dict", "divmod", "enumerate", "float", "int", "itertools.pairwise", "list", "map", "max", "min"}
_PASS_ON |= {
    "next",
    "reversed",
    "round",
    "set",
    "sorted",
    "sum",
    "tuple",
    "zip",
    "statistics.mean",
    "statistics.median",
}
_KEEPERS = {"add", "append", "appendleft", "extend", "insert", "put", "put_nowait", "setdefault"}
_COMPARERS = {"isclose", "math.isclose", "pytest.approx"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPED = (*_FUNCTIONS, ast.Lambda)


class Kind(enum.IntEnum):
    """What a value says of time."""

    NONE = 0
    DATE = 1  # a calendar's: often compared with what others wrote down, of which nothing is said here
    READING = 2
    BOUND = 3  # a reading, and how much may pass: loops wait until then
    DURATION = 4


def assertions(source: str) -> Iterator[int]:
    """Yield the lines that assert how long something took; a loop that gives up at a deadline is none of them."""
    if not re.search(r"\b(time|timeit|datetime)\b", source):
        return
    tree = ast.parse(source)
    followed = _Followed(tree)
    for scope in _scopes(tree):
        yield from followed.assertions(scope)


def _scopes(tree: ast.Module) -> list[ast.AST]:
    """Return the module, then its outermost functions and methods: one with its inner functions shares its names."""
    found: list[ast.AST] = [tree]
    pending: list[ast.AST] = list(tree.body)
    for node in pending:
        if isinstance(node, _FUNCTIONS):
            found.append(node)
        else:
            pending.extend(ast.iter_child_nodes(node))
    return found


class _Followed:
    """What each name of a module says of time, in each of its scopes."""

    def __init__(self, tree: ast.Module) -> None:
        self._aliases = dict(_imports(tree))
        self._attributes: dict[str, Kind] = {}
        self._returned: dict[str, Kind] = {}
        self._names: dict[ast.AST, dict[str, Kind]] = {scope: {} for scope in _scopes(tree)}
        self._tree = tree
        before: Sequence[Mapping[str, Kind]] = ()
        while before != (before := self._state()):
            for scope in self._names:
                for node in [scope, *self._nodes(scope)]:
                    self._learn(scope, node)

    def _state(self) -> Sequence[Mapping[str, Kind]]:
        return [dict(each) for each in (self._attributes, self._returned, *self._names.values())]

    def _nodes(self, scope: ast.AST) -> Iterator[ast.AST]:
        """Yield what belongs to the scope: of the module, what is in no function."""
        pending = list(ast.iter_child_nodes(scope))
        for node in pending:
            if scope is self._tree and isinstance(node, _FUNCTIONS):
                continue
            yield node
            pending.extend(ast.iter_child_nodes(node))

    def _learn(self, scope: ast.AST, node: ast.AST) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._give(scope, target, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value):
                self._give(scope, target, value)
            case ast.AugAssign(target=target, op=op, value=value):
                self._give(scope, target, ast.BinOp(target, op, value))
            case ast.For(target=target, iter=value) | ast.AsyncFor(target=target, iter=value):
                self._give(scope, target, value)
            case ast.comprehension(target=target, iter=value):
                self._give(scope, target, value)
            case ast.Call(func=ast.Attribute(value=keeper, attr=attribute), args=values) if attribute in _KEEPERS:
                self._note(scope, keeper, max((self._kind(scope, value) for value in values), default=Kind.NONE))
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                self._note_results(scope, name, node)

    def _note_results(self, scope: ast.AST, name: str, function: ast.AST) -> None:
        pending = list(ast.iter_child_nodes(function))
        for node in pending:
            if isinstance(node, ast.Return | ast.Yield) and node.value is not None:
                self._returned[name] = max(self._returned.get(name, Kind.NONE), self._kind(scope, node.value))
            if not isinstance(node, _SCOPED):
                pending.extend(ast.iter_child_nodes(node))

    def _give(self, scope: ast.AST, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for part, source in zip(target.elts, value.elts, strict=True):
                self._give(scope, part, source)
            return
        self._note(scope, target, self._kind(scope, value))

    def _note(self, scope: ast.AST, target: ast.expr, kind: Kind) -> None:
        if kind is Kind.NONE:
            return
        match target:
            case ast.Name(id=name):
                self._names[scope][name] = max(self._names[scope].get(name, Kind.NONE), kind)
            case ast.Attribute(attr=name):
                self._attributes[name] = max(self._attributes.get(name, Kind.NONE), kind)
            case ast.Subscript(value=whole) | ast.Starred(value=whole):
                self._note(scope, whole, kind)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for part in parts:
                    self._note(scope, part, kind)

    def _kind(self, scope: ast.AST, node: ast.AST) -> Kind:
        match node:
            case ast.Name(id=name):
                return self._names[scope].get(name) or self._names[self._tree].get(name, Kind.NONE)
            case ast.Attribute(value=whole, attr=name):
                return self._attributes.get(name) or self._kind(scope, whole)
            case ast.Call():
                return self._kind_of_call(scope, node)
            case ast.BinOp(left=left, op=op, right=right):
                return _calculated(self._kind(scope, left), op, self._kind(scope, right), left, right)
            case ast.Lambda() | ast.Compare() | ast.Constant():
                return Kind.NONE
            case ast.Subscript(value=whole):
                return self._kind(scope, whole)
            case ast.IfExp(body=one, orelse=other):
                return max(self._kind(scope, one), self._kind(scope, other))
            case ast.ListComp(elt=each) | ast.SetComp(elt=each) | ast.GeneratorExp(elt=each) | ast.DictComp(value=each):
                return self._kind(scope, each)
        return max((self._kind(scope, part) for part in ast.iter_child_nodes(node)), default=Kind.NONE)

    def _kind_of_call(self, scope: ast.AST, call: ast.Call) -> Kind:
        name = self._full_name(call.func)
        if name in _CLOCKS:
            return Kind.READING
        if name in _CALENDARS:
            return Kind.DATE
        if name in _TIMERS:
            return Kind.DURATION
        if name in _PASS_ON or name in _COMPARERS:
            return max((self._kind(scope, each) for each in call.args), default=Kind.NONE)
        if (returned := self._returned.get(name.rpartition(".")[2])) is not None and returned:
            return returned
        # ``took.total_seconds()``, ``readings.pop()``; what is asked of a keeper or clock with a time is no time.
        return self._kind(scope, call.func.value) if isinstance(call.func, ast.Attribute) else Kind.NONE

    def _full_name(self, function: ast.expr) -> str:
        first, dot, rest = ast.unparse(function).partition(".")
        return f"{self._aliases.get(first, first)}{dot}{rest}"

    def assertions(self, scope: ast.AST) -> Iterator[int]:
        for node, looped in _with_loops(scope, whole=scope is not self._tree):
            if not isinstance(node, ast.Assert | ast.If) or (
                isinstance(node, ast.If) and not any(map(_fails, node.body))
            ):
                continue
            if any(self._asserts(scope, part, looped) for part in ast.walk(node.test)):
                yield node.lineno

    def _asserts(self, scope: ast.AST, node: ast.AST, looped: bool) -> bool:
        if isinstance(node, ast.Call) and self._full_name(node.func) in _COMPARERS:
            sides: list[ast.expr] = [*node.args]
        elif isinstance(node, ast.Compare) and not all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
            sides = [node.left, *node.comparators]
        else:
            return False
        kinds = sorted((self._kind(scope, side) for side in sides), reverse=True)
        if kinds[0] is Kind.DURATION:
            return True
        return kinds[0] is Kind.BOUND and Kind.READING in kinds[1:] and not looped


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield what each imported name is called where it comes from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                yield (
                    each.asname or each.name.partition(".")[0],
                    each.name if each.asname else each.name.partition(".")[0],
                )
        elif isinstance(node, ast.ImportFrom):
            for each in node.names:
                yield each.asname or each.name, f"{node.module}.{each.name}"


def _calculated(left: Kind, op: ast.operator, right: Kind, first: ast.expr, second: ast.expr) -> Kind:
    highest = max(left, right)
    if Kind.DURATION in (left, right) and min(left, right) in (Kind.NONE, Kind.DURATION):
        return Kind.DURATION
    if isinstance(op, ast.Sub) and highest is not Kind.NONE:
        if left and right:
            return Kind.DURATION
        if highest is Kind.DATE:
            return Kind.DATE
        return Kind.BOUND if _fixed(second if left else first) else Kind.DURATION
    if isinstance(op, ast.Add) and highest >= Kind.READING:
        return Kind.BOUND
    return highest


def _fixed(node: ast.expr) -> bool:
    """Return whether a number stands here: literals and constants' names."""
    return all(
        isinstance(part, ast.Constant) or (isinstance(part, ast.Name) and part.id.isupper())
        for part in ast.walk(node)
        if isinstance(part, ast.Constant | ast.Name | ast.Call | ast.Attribute | ast.Subscript)
    )


def _fails(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Call(func=function)):
            return ast.unparse(function) in ("pytest.fail", "fail", "self.fail")
        case ast.Raise(exc=ast.Call(func=ast.Name(id="AssertionError")) | ast.Name(id="AssertionError")):
            return True
    return False


def _with_loops(scope: ast.AST, *, whole: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Yield the scope's nodes, and of each whether a loop holds it; a function of its own within a loop is in none."""
    pending = [(child, False) for child in ast.iter_child_nodes(scope)]
    for node, looped in pending:
        if isinstance(node, _FUNCTIONS) and not whole:
            continue
        yield node, looped
        inside = isinstance(node, ast.While | ast.For | ast.AsyncFor) or (looped and not isinstance(node, _FUNCTIONS))
        pending.extend((child, inside) for child in ast.iter_child_nodes(node))
