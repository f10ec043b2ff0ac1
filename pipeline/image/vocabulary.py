"""Know the vocabulary of image properties: which names mean something, and which values each takes.

The data stand in ``vocabulary.yaml``; every entry says where it is documented. What an entry says becomes a metadata
definition, and values are held against that: recipes, catalogue and clouds that have it agree by construction.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.base import yaml_source
from pipeline.image.definitions.rules import read_rule, shortened

_FILE = Path(__file__).with_suffix(".yaml")
_NUMBERED = re.compile(r"\.\d{1,3}$")
_TRUTHS = ("yes", "no", "true", "false")
_LONGEST = 255
_NO_DEFAULT = object()

# What stands for what in the forms of a property: a pattern, and how people are shown it.
_MINUTE = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_LONG_MONTH = "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
_MONTH = "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|[12][0-9])"
_TOKENS = {
    "<day>": (f"[0-9]{{4}}-(?:{_LONG_MONTH}|{_MONTH})", "YYYY-MM-DD"),
    "<minute>": (_MINUTE, "hh:mm"),
    "<second>": (f"{_MINUTE}:[0-5][0-9]", "hh:mm:ss"),
    "<number>": ("[1-9][0-9]{0,8}", "N"),
    "<url>": (r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/]\S*", "a URL"),
    "<login>": (r"[^\s:/@]+", "a login name"),
    "<host>": ("[A-Za-z0-9.-]+", "host"),
    "<phone>": (r"\+?[0-9()./-]+", "number"),
}
_TOKEN = re.compile("|".join(_TOKENS))
_PATTERNS = {
    "uuid": "^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$",
    "cpus": "^[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*$",
    "word": r"^\S+$",
    "text": r"\S",
}
_EXPECTED = {
    "uuid": "is not a UUID",
    "cpus": "is not a list of processors such as 0-3,6",
    "word": "is empty or has spaces",
    "text": "is empty",
}


class PropertyKind(StrEnum):
    """What the values of a property look like."""

    ENUM = "enum"
    BOOLEAN = "boolean"
    TRUTH = "truth"
    INTEGER = "integer"
    NUMBER = "number"
    UUID = "uuid"
    CPUS = "cpus"
    WORD = "word"
    TEXT = "text"
    FORM = "form"
    SET = "set"


@dataclass(frozen=True)
class PropertyDefinition:
    """One property. ``values`` maps each valid value to what it means (empty unless the kind is an enumeration or a
    set); ``forms`` are those of the kind of that name.
    """

    name: str
    what: str
    source: str
    kind: PropertyKind
    values: Mapping[str, str] = field(default_factory=dict)
    misspelt: Mapping[str, str] = field(default_factory=dict)
    minimum: int | None = None
    maximum: int | None = None
    title: str | None = None
    default: Any = _NO_DEFAULT
    operators: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()

    @functools.cached_property
    def document(self) -> Mapping[str, Any]:
        """The property as a metadata definition, as the image API has it, without title and description."""
        definition: dict[str, Any] = {**self._type()}
        if self.operators:
            definition["operators"] = list(self.operators)
        if self.default is not _NO_DEFAULT:
            definition["default"] = self.default
        return definition

    def problem(self, value: str) -> str | None:
        """Return what is wrong with ``value``, naming what would be right; ``None`` when it is valid.

        What is valid is what the definition says that clouds get of us.
        """
        rule = read_rule(self.document)
        if rule is None or rule.accepts(value):
            return None
        if rule.longest is not None and len(value) > rule.longest:
            return f"is longer than {rule.longest} characters"
        if self.kind is PropertyKind.ENUM:
            meant = self._meant(value)
            return f"{shortened(value)} is not {rule.expected}" + (f"; did you mean {meant!r}?" if meant else "")
        if self.kind is PropertyKind.FORM:
            *others, last = [_TOKEN.sub(lambda token: _TOKENS[token[0]][1], form) for form in self.forms]
            return f"{shortened(value)} is not {', '.join(others)}{' or ' if others else ''}{last}"
        expected = _EXPECTED.get(self.kind)
        return f"{shortened(value)} {expected}" if expected else f"{shortened(value)} is not {rule.expected}"

    def _type(self) -> Mapping[str, Any]:
        if self.kind is PropertyKind.ENUM:
            return {"type": "string", "enum": list(self.values)}
        if self.kind is PropertyKind.BOOLEAN:
            return {"type": "string", "enum": list(_TRUTHS)}
        if self.kind is PropertyKind.TRUTH:
            return {"type": "boolean"}
        if self.kind is PropertyKind.SET:
            return {"type": "array", "items": {"type": "string", "enum": list(self.values)}}
        if self.kind in (PropertyKind.INTEGER, PropertyKind.NUMBER):
            bounds = {"minimum": self.minimum, "maximum": self.maximum}
            return {"type": str(self.kind), **{name: bound for name, bound in bounds.items() if bound is not None}}
        if self.kind is PropertyKind.TEXT or self.name == "img_signature":
            return {"type": "string", "pattern": _PATTERNS[self.kind]}
        pattern = self._forms() if self.kind is PropertyKind.FORM else _PATTERNS[self.kind]
        return {"type": "string", "pattern": pattern, "maxLength": _LONGEST}

    def _forms(self) -> str:
        patterns = []
        for form in self.forms:
            pieces = [re.escape(text) for text in _TOKEN.split(form)]
            tokens = [_TOKENS[token][0] for token in _TOKEN.findall(form)]
            patterns.append("".join(f"{text}{token}" for text, token in zip(pieces, [*tokens, ""], strict=True)))
        return f"^(?:{'|'.join(patterns)})$"

    def _meant(self, value: str) -> str | None:
        lower = {known.lower(): known for known in self.values}
        exact = self.misspelt.get(value.lower()) or lower.get(value.lower())
        near = difflib.get_close_matches(value.lower(), lower, 1, 0.6)
        return exact or (lower[near[0]] if near else None)


@functools.cache
def entries() -> Mapping[str, PropertyDefinition]:
    """Return all entries by name; those for numbered properties end in ``.N``."""
    data = yaml_source.loads(_FILE.read_text(encoding="utf-8"), name=_FILE.name).data
    return {name: read_entry(name, _resolved(body, data)) for name, body in data.items()}


def find(name: str) -> PropertyDefinition | None:
    """Return the entry for a property, ``hw_numa_mem.3`` included."""
    return entries().get(name) or entries().get(_NUMBERED.sub(".N", name))


def nearest(name: str, cutoff: float) -> list[str]:
    """Return known names that resemble ``name``, the nearest first."""
    return difflib.get_close_matches(name.lower(), entries(), 3, cutoff)


def read_entry(name: str, body: Mapping[str, Any]) -> PropertyDefinition:
    """Return the entry that ``body`` describes, as the file has it."""
    values = _values(body.get("values", {}))
    for more in body.get("also", {}).values():
        values.update(more)
    return PropertyDefinition(
        name=name,
        what=body["what"],
        source=body.get("source", "field"),
        kind=PropertyKind(body["kind"]),
        values=values,
        misspelt=body.get("not", {}),
        minimum=body.get("min"),
        maximum=body.get("max"),
        title=body.get("title"),
        default=body.get("default", _NO_DEFAULT),
        operators=tuple(body.get("operators", ())),
        forms=tuple(body.get("forms", ())),
    )


def _values(values: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    return dict(values) if isinstance(values, Mapping) else {value: value for value in values}


def _resolved(body: Mapping[str, Any], data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the body, with the values of the property that it names."""
    if "values_of" not in body:
        return body
    same = data[body["values_of"]]
    return {**body, "values": same["values"], "also": same.get("also", {})}
