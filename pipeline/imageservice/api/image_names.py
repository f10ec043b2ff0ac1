"""Which names in an image document clients may set, and how a refusal reads."""

from __future__ import annotations

from typing import Any

from pipeline.imageservice.api.image_schema import LARGEST_INTEGER, ImageSchema
from pipeline.imageservice.api.schema_check import check
from pipeline.imageservice.errors import Forbidden, Invalid, LimitExceeded

_DISALLOWED = frozenset({"direct_url", "self", "file", "schema", "stores"})
_READ_ONLY = frozenset(
    {"created_at", "updated_at", "status", "checksum", "size", "virtual_size", "os_hash_algo", "os_hash_value"}
)
_RESERVED = frozenset({"location", "deleted", "deleted_at"})
RESERVED_PREFIX = "os_glance"
_LONGEST_NAME = 255


def check_name(name: str) -> None:
    """Raise ``Forbidden`` or ``Invalid`` unless clients may set ``name`` at some time."""
    if name in _DISALLOWED:
        raise Forbidden(f"Attribute '{name}' is disallowed.")
    if name in _READ_ONLY:
        raise Forbidden(f"Attribute '{name}' is read-only.")
    if name in _RESERVED or name.startswith(RESERVED_PREFIX):
        raise Forbidden(f"Attribute '{name}' is reserved.")
    if not name:
        raise Invalid("A property's name must not be empty.")
    if len(name) > _LONGEST_NAME:
        raise Invalid(f"Property name {name[:32]!r}… is longer than {_LONGEST_NAME} characters.")


def check_value(schema: ImageSchema, name: str, value: Any) -> None:
    """Raise ``Invalid`` unless ``value`` is one that ``name`` may have."""
    check(value, schema.of(name), name=name, what="image")
    if name in ("min_ram", "min_disk"):
        if value < 0:
            raise Invalid(f"Invalid value '{value}' for parameter '{name}': Cannot be a negative value.")
        if value > LARGEST_INTEGER:
            raise Invalid(f"Invalid value '{value}' for parameter '{name}': it is larger than {LARGEST_INTEGER}.")


def check_count(what: str, count: int, most: int) -> None:
    """Raise ``LimitExceeded`` when there are more than ``most`` (negative: no limit)."""
    if 0 <= most < count:
        raise LimitExceeded(
            f"The limit has been exceeded on the number of allowed image {what}. Attempted: {count}, Maximum: {most}"
        )
