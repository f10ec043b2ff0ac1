"""Check which names in an image document clients may set, and word the refusals."""

from __future__ import annotations

from typing import Any

from pipeline.imageservice.errors import Forbidden, Invalid, LimitExceeded
from pipeline.imageservice.model.images import Image
from pipeline.imageservice.schema.image_schema import LARGEST_INTEGER, ImageSchema
from pipeline.imageservice.schema.schema_check import check

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


def check_text(name: str, value: Any, most: int) -> None:
    """Raise ``LimitExceeded`` when a property's value has more than ``most`` bytes of UTF-8."""
    # No character has more than four bytes: most values are told by their length alone.
    if isinstance(value, str) and 4 * len(value) > most and len(value.encode()) > most:
        raise LimitExceeded(f"The value of {name!r} has {len(value.encode())} bytes, at most {most} are kept")


def check_weight(before: Image | None, after: Image, most: int) -> None:
    """Raise ``LimitExceeded`` when properties and tags have more than ``most`` bytes, unless they become fewer.

    What was stored under other limits stays, and the rest of the image can be changed.
    """
    weight = after.weight
    if weight > most and (before is None or weight > before.weight):
        raise LimitExceeded(f"The image's properties and tags have {weight} bytes, at most {most} are kept")


def check_count(what: str, count: int, most: int) -> None:
    """Raise ``LimitExceeded`` when there are more than ``most`` (negative: no limit)."""
    if 0 <= most < count:
        raise LimitExceeded(
            f"The limit has been exceeded on the number of allowed image {what}. Attempted: {count}, Maximum: {most}"
        )
