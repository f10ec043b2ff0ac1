"""Substitute ``${name}`` in recipes: plain, strict, without any code.

A value that is nothing but ``${name}`` keeps the variable's type; inside longer text the variable must be text or
a whole number. ``$${`` stands for a literal ``${``, which shell scripts need.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.recipes.loading.inheritance import Path, RecipeProblem, YamlNode
from pipeline.recipes.model.fields import MAX_CONTENT

Scalar = str | int | bool
_REFERENCE = re.compile(r"\$(?P<escaped>\$)?\{(?P<name>[^}]*)\}?")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
MAX_EXPANDED = 1 << 20


class Substitution:
    """Replaces references in one recipe's tree, collecting problems rather than stopping at the first."""

    def __init__(self, values: Mapping[str, Scalar]) -> None:
        self.values = values
        self.problems: list[RecipeProblem] = []
        self._expanded = 0

    def apply(self, node: YamlNode, path: Path = ()) -> YamlNode:
        """Return ``node`` with every reference replaced."""
        if node.is_map:
            return YamlNode({key: self.apply(child, (*path, key)) for key, child in node.value.items()}, node.location)
        if node.is_list:
            return YamlNode(
                [self.apply(child, (*path, index)) for index, child in enumerate(node.value)], node.location
            )
        if not isinstance(node.value, str) or "${" not in node.value:
            return node
        try:
            return YamlNode(self._text(node.value), node.location)
        except ValueError as error:
            self.problems.append(RecipeProblem(node.location, path, str(error)))
            return node

    def _text(self, text: str) -> Scalar:
        whole = _REFERENCE.fullmatch(text)
        if whole and not whole["escaped"] and text.endswith("}"):
            return self._value(whole)
        result = _REFERENCE.sub(self._piece, text)
        self._expanded += len(result)
        if len(result) > MAX_CONTENT or self._expanded > MAX_EXPANDED:
            raise ValueError("its variables make this text unreasonably long")
        return result

    def _piece(self, match: re.Match[str]) -> str:
        if match["escaped"]:
            return match[0][1:]
        value = self._value(match)
        if isinstance(value, bool):
            raise ValueError(f"${{{match['name']}}} is true or false and cannot stand inside text")
        return str(value)

    def _value(self, match: re.Match[str]) -> Scalar:
        if not match[0].endswith("}"):
            raise ValueError("'${' is never closed; write '$${' for a literal '${'")
        name = match["name"]
        if name not in self.values:
            known = ", ".join(sorted(self.values)) or "none"
            raise ValueError(f"there is no variable {name!r} (known: {known}); write '$${{' for a literal '${{'")
        return self.values[name]


def resolve(declared: YamlNode | None, fixed: Mapping[str, Scalar], set_: Mapping[str, str]) -> Resolved:
    """Return the value of each variable: ``declared`` in the recipe, overridden by ``set_``, and of the ``fixed`` ones.

    ``fixed`` are known before the recipe is read (its name, the matrix) and cannot be declared. Raises
    ``PipelineError`` when ``set_`` names a variable that nobody declared.
    """
    problems: list[RecipeProblem] = []
    raw = dict(_declared(declared, fixed, problems))
    unknown = sorted(set(set_) - set(raw))
    if unknown:
        known = ", ".join(sorted(raw)) or "none"
        raise PipelineError(f"--set {unknown[0]}=…: the recipe has no variable of that name (it has: {known})")
    for name, text in set_.items():
        raw[name] = YamlNode(_as_declared(name, text, raw[name].value), raw[name].location)
    return _Resolver(raw, fixed, problems).resolve()


class Resolved:
    """Variables with all references between them replaced."""

    def __init__(self, values: dict[str, Scalar], problems: list[RecipeProblem]) -> None:
        self.values = values
        self.problems = problems


class _Resolver:
    def __init__(self, raw: dict[str, YamlNode], fixed: Mapping[str, Scalar], problems: list[RecipeProblem]) -> None:
        self.raw = raw
        self.values: dict[str, Scalar] = dict(fixed)
        self.problems = problems
        self._open: list[str] = []

    def resolve(self) -> Resolved:
        for name in self.raw:
            self._visit(name)
        return Resolved(self.values, self.problems)

    def _visit(self, name: str) -> None:
        if name in self.values or name not in self.raw:
            return
        node = self.raw[name]
        path = ("variables", name)
        if name in self._open:
            circle = " → ".join([*self._open[self._open.index(name) :], name])
            self.problems.append(RecipeProblem(node.location, path, f"the variables go in a circle: {circle}"))
            self.values[name] = ""
            return
        self._open.append(name)
        for match in _REFERENCE.finditer(node.value) if isinstance(node.value, str) else ():
            self._visit(match["name"])
        self._open.pop()
        substitution = Substitution(self.values)
        value = substitution.apply(node, path).value
        self.problems.extend(substitution.problems)
        self.values.setdefault(name, value)


def _declared(
    node: YamlNode | None, fixed: Mapping[str, Scalar], problems: list[RecipeProblem]
) -> Mapping[str, YamlNode]:
    if node is None:
        return {}
    if not node.is_map:
        problems.append(RecipeProblem(node.location, ("variables",), "this must map names to values"))
        return {}
    good = {}
    for name, child in node.value.items():
        path = ("variables", name)
        if not _NAME.fullmatch(name):
            problems.append(
                RecipeProblem(child.location, path, "a variable's name is lower case: letters, digits and _")
            )
        elif name in fixed:
            problems.append(RecipeProblem(child.location, path, f"{name} has its value from the recipe itself"))
        elif not isinstance(child.value, str | int):
            problems.append(RecipeProblem(child.location, path, "a variable is text, a whole number, true or false"))
        else:
            good[name] = child
    return good


def _as_declared(name: str, text: str, default: Any) -> Scalar:
    """``text`` from the command line, as the type of the variable's declared value."""
    if isinstance(default, bool):
        if text not in ("true", "false"):
            raise PipelineError(f"--set {name}={text}: the variable is true or false")
        return text == "true"
    if isinstance(default, int):
        if not re.fullmatch(r"-?\d{1,18}", text):
            raise PipelineError(f"--set {name}={text}: the variable is a whole number")
        return int(text)
    # A person's value is taken as it is: it can refer to no other variable.
    return text.replace("${", "$${")
