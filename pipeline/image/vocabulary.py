"""Know the vocabulary of image properties: which names mean something, and which values each takes.

The data stand in ``vocabulary.yaml``; every entry says where it is documented.
"""

from __future__ import annotations

import difflib
import functools
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.base import yaml_source

_FILE = Path(__file__).with_suffix(".yaml")
_NUMBERED = re.compile(r"\.\d{1,3}$")
_CPUS = re.compile(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*")
_TRUTHS = ("yes", "no", "true", "false")


class PropertyKind(StrEnum):
    """What the values of a property look like."""

    ENUM = "enum"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    UUID = "uuid"
    CPUS = "cpus"
    WORD = "word"
    TEXT = "text"


@dataclass(frozen=True)
class PropertyDefinition:
    """One property. ``values`` maps each valid value to what it means (empty unless the kind is an enumeration)."""

    name: str
    what: str
    source: str
    kind: PropertyKind
    values: Mapping[str, str] = field(default_factory=dict)
    misspelt: Mapping[str, str] = field(default_factory=dict)
    minimum: int | None = None
    maximum: int | None = None

    def problem(self, value: str) -> str | None:
        """Return what is wrong with ``value``, naming what would be right; ``None`` when it is valid."""
        if len(value) > 255 and self.kind is not PropertyKind.TEXT and self.name != "img_signature":
            return "is longer than 255 characters"
        return getattr(self, f"_problem_{self.kind}")(value)  # type: ignore[no-any-return]

    def _problem_enum(self, value: str) -> str | None:
        if value in self.values:
            return None
        meant = self._meant(value)
        guess = f"; did you mean {meant!r}?" if meant else ""
        return f"{value!r} is not one of {', '.join(self.values)}{guess}"

    def _meant(self, value: str) -> str | None:
        lower = {known.lower(): known for known in self.values}
        exact = self.misspelt.get(value.lower()) or lower.get(value.lower())
        near = difflib.get_close_matches(value.lower(), lower, 1, 0.6)
        return exact or (lower[near[0]] if near else None)

    def _problem_boolean(self, value: str) -> str | None:
        return None if value in _TRUTHS else f"{value!r} is not one of {', '.join(_TRUTHS)}"

    def _problem_integer(self, value: str) -> str | None:
        low, high = self.minimum, self.maximum
        bounds = f"a whole number{f' from {low}' if low is not None else ''}{f' to {high}' if high is not None else ''}"
        if not re.fullmatch(r"\d{1,12}", value, re.ASCII):
            return f"{value!r} is not {bounds}"
        number = int(value)
        if (low is not None and number < low) or (high is not None and number > high):
            return f"{value} is not {bounds}"
        return None

    def _problem_uuid(self, value: str) -> str | None:
        try:
            uuid.UUID(value)
        except ValueError:
            return f"{value!r} is not a UUID"
        return None

    def _problem_cpus(self, value: str) -> str | None:
        return None if _CPUS.fullmatch(value) else f"{value!r} is not a list of processors such as 0-3,6"

    def _problem_word(self, value: str) -> str | None:
        return None if re.fullmatch(r"\S+", value) else f"{value!r} is empty or has spaces"

    def _problem_text(self, value: str) -> str | None:
        return None if value.strip() else "is empty"


@functools.cache
def entries() -> Mapping[str, PropertyDefinition]:
    """Return all entries by name; those for numbered properties end in ``.N``."""
    data = yaml_source.loads(_FILE.read_text(encoding="utf-8"), name=_FILE.name).data
    return {name: _entry(name, body) for name, body in data.items()}


def find(name: str) -> PropertyDefinition | None:
    """Return the entry for a property, ``hw_numa_mem.3`` included."""
    return entries().get(name) or entries().get(_NUMBERED.sub(".N", name))


def nearest(name: str, cutoff: float) -> list[str]:
    """Return known names that resemble ``name``, the nearest first."""
    return difflib.get_close_matches(name.lower(), entries(), 3, cutoff)


def _entry(name: str, body: Mapping[str, Any]) -> PropertyDefinition:
    values = dict(body.get("values", {}))
    for more in body.get("also", {}).values():
        values.update(more)
    return PropertyDefinition(
        name=name,
        what=body["what"],
        source=body["source"],
        kind=PropertyKind(body["kind"]),
        values=values,
        misspelt=body.get("not", {}),
        minimum=body.get("min"),
        maximum=body.get("max"),
    )
