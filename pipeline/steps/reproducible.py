"""Stand in for time and chance in an image, so that the same recipe gives the same bytes."""

from __future__ import annotations

import uuid

# The date of everything in an image that would else have the date of its build: 2025-01-01T00:00:00Z.
EPOCH = 1735689600
_NAMESPACE = uuid.UUID("6d0a3f52-9c0e-5e5c-8a43-2f2f8f0f6b1e")


def identity(recipe: str, part: str) -> uuid.UUID:
    """Return an identifier for a part of a recipe's image (a file system, a disk): always the same one."""
    return uuid.uuid5(_NAMESPACE, f"{recipe}/{part}")
