"""What an image's record should say, and the JSON patch that makes it say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.publishing.image_record import ImageRecord


@dataclass(frozen=True)
class Change:
    """What an image's record should say: base ``fields``, custom ``properties``, and names to ``remove``."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    remove: frozenset[str] = frozenset()

    def operations(self, record: ImageRecord) -> list[dict[str, Any]]:
        """The JSON patch that turns ``record`` into this; empty when it says so already."""
        now = {
            "name": record.name,
            "visibility": record.visibility,
            "protected": record.is_protected,
            "os_hidden": record.is_hidden,
            "min_disk": record.min_disk,
            "min_ram": record.min_ram,
        }
        patch: list[dict[str, Any]] = []
        for name, value in self.fields.items():
            if name == "tags":
                if set(value) != record.tags:
                    patch.append({"op": "replace", "path": "/tags", "value": sorted(value)})
            elif now[name] != value:
                patch.append({"op": "replace", "path": f"/{name}", "value": value})
        for name, value in self.properties.items():
            if record.properties.get(name) != value:
                patch.append({"op": "add", "path": _pointer(name), "value": value})
        patch += [{"op": "remove", "path": _pointer(name)} for name in sorted(self.remove) if name in record.properties]
        return patch


def _pointer(name: str) -> str:
    """A property's name as a JSON pointer (RFC 6901)."""
    return "/" + name.replace("~", "~0").replace("/", "~1")
