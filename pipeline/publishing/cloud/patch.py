"""Patch an image's record: what it should say, and the JSON patch that makes it say so (RFC 6902)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.publishing.cloud.record import ImageRecord

_FIELDS = {"protected": "is_protected", "os_hidden": "is_hidden"}


@dataclass(frozen=True)
class RecordPatch:
    """What an image's record should say: base ``fields``, custom ``properties``, and names to ``remove``."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    remove: frozenset[str] = frozenset()

    def operations(self, record: ImageRecord) -> list[dict[str, Any]]:
        """Return the JSON patch that turns ``record`` into this; empty when it says so already."""
        patch: list[dict[str, Any]] = []
        for name, value in self.fields.items():
            if name == "tags":
                if set(value) != record.tags:
                    patch.append({"op": "replace", "path": "/tags", "value": sorted(value)})
            elif getattr(record, _FIELDS.get(name, name)) != value:
                patch.append({"op": "replace", "path": f"/{name}", "value": value})
        for name, value in self.properties.items():
            if record.properties.get(name) != value:
                patch.append({"op": "add", "path": _pointer(name), "value": value})
        patch += [{"op": "remove", "path": _pointer(name)} for name in sorted(self.remove) if name in record.properties]
        return patch

    def applied(self, record: ImageRecord) -> ImageRecord:
        """Return the record as it will be, so that what follows can be planned."""
        properties = {**record.properties, **self.properties}
        kept = {name: value for name, value in properties.items() if name not in self.remove}
        fields = {_FIELDS.get(name, name): value for name, value in self.fields.items()}
        return replace(record, **fields, properties=kept)

    def reversed(self, record: ImageRecord) -> RecordPatch:
        """Return what makes the image again what ``record`` says, as far as this changes it."""
        names = {*self.properties, *self.remove}
        before = {name: record.properties[name] for name in names if name in record.properties}
        fields = {name: getattr(record, _FIELDS.get(name, name)) for name in self.fields}
        return RecordPatch(fields, before, frozenset(names - before.keys()))


def _pointer(name: str) -> str:
    """Return a property's name as a JSON pointer (RFC 6901)."""
    return "/" + name.replace("~", "~0").replace("/", "~1")
