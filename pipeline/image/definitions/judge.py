"""Judge the properties of an image by all definitions that hold for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.image.definitions.rules import ValueRule, read_rule, shortened


@dataclass(frozen=True)
class WrongValue:
    """A property whose value no definition accepts."""

    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


@dataclass(frozen=True)
class Findings:
    """What the definitions say of an image's properties: wrong ones, and names that none of them knows."""

    wrong: tuple[WrongValue, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass
class DefinedProperties:
    """All definitions of images' properties, by the names that these have on images."""

    _rules: dict[str, list[tuple[str, ValueRule | None]]] = field(default_factory=dict)

    def add(self, namespace: str, prefix: str, properties: Mapping[str, Mapping[str, Any]]) -> None:
        """Add what ``namespace`` defines, whose properties begin with ``prefix`` on images."""
        for name, document in properties.items():
            self._rules.setdefault(prefix + name, []).append((namespace, read_rule(document)))

    def add_all(self, other: DefinedProperties) -> None:
        """Add everything that ``other`` knows."""
        for name, rules in other._rules.items():
            self._rules.setdefault(name, []).extend(rules)

    def __len__(self) -> int:
        return len(self._rules)

    def judge(self, properties: Mapping[str, Any], names: Iterable[str] | None = None) -> Findings:
        """Return what is to be said of ``properties``, or of those ``names`` among them. A property is right when one
        definition accepts it, or cannot judge it.
        """
        wrong, unknown = [], []
        for name in properties if names is None else names:
            value, rules = properties[name], self._rules.get(name)
            if rules is None:
                unknown.append(name)
            elif isinstance(value, str) and not any(rule is None or rule.accepts(value) for _, rule in rules):
                wrong.append(WrongValue(name, _message(value, rules)))
        return Findings(tuple(wrong), tuple(unknown))


def _message(value: str, rules: list[tuple[str, ValueRule | None]]) -> str:
    expected: dict[str, str] = {}
    for namespace, rule in rules:
        if rule is not None:
            expected.setdefault(rule.expected, namespace)
    allowed = "; or ".join(f"{text} ({namespace})" for text, namespace in list(expected.items())[:5])
    return f"{shortened(value)} is not {allowed}"
