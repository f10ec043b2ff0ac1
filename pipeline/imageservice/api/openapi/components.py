"""Write the schemas of the OpenAPI document: those that requests are checked against, in OpenAPI's words."""

from __future__ import annotations

from pipeline.imageservice.api import schemas
from pipeline.imageservice.api.openapi.metadefs import metadef_components
from pipeline.imageservice.api.openapi.parts import Document, plain
from pipeline.imageservice.service import Service

_PATCH: Document = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["op", "path"],
        "properties": {
            "op": {"type": "string", "enum": ["add", "replace", "remove"]},
            "path": {"type": "string", "pattern": "^/[^/~]+$"},
            "value": {},
        },
    },
}
_IMPORT: Document = {
    "type": "object",
    "required": ["method"],
    "properties": {
        "method": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "enum": ["glance-direct", "web-download", "copy-image"]},
                "uri": {"type": "string"},
            },
        },
        "stores": {"type": "array", "items": {"type": "string"}},
        "all_stores": {"type": "boolean"},
        "all_stores_must_succeed": {"type": "boolean"},
    },
}
_LOCATION: Document = {
    "type": "object",
    "required": ["url"],
    "additionalProperties": False,
    "properties": {
        "url": {"type": "string", "maxLength": 255},
        "validation_data": {
            "type": "object",
            "properties": {
                "os_hash_algo": {"type": "string", "enum": ["md5", "sha1", "sha256", "sha512"]},
                "os_hash_value": {"type": "string", "maxLength": 128},
            },
        },
    },
}


def components(service: Service) -> Document:
    """Return every schema the description refers to, by its name."""
    image = service.image_schema
    writable = {
        name: schema for name, schema in image.base.items() if not schema.get("readOnly") and name != "locations"
    }
    typed = {name: {**schema} for name, schema in image.typed.items()}
    return {
        "Image": plain({**image.document, "type": "object"}),
        "ImageCreate": plain(
            {"type": "object", "properties": {**writable, **typed}, "additionalProperties": {"type": "string"}}
        ),
        "Member": plain({**schemas.MEMBER, "type": "object"}),
        "Task": plain({**schemas.TASK, "type": "object"}),
        "Patch": _PATCH,
        "Import": _IMPORT,
        "Location": _LOCATION,
        **metadef_components(),
    }
