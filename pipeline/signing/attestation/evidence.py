"""Describe what comes with an image to prove what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Evidence:
    """What came with an image. ``properties`` are its image properties; documents are ``None`` where there are none."""

    properties: Mapping[str, Any] = field(default_factory=dict)
    signature_document: bytes | None = None
    attestations: bytes | None = None
    sbom: bytes | None = None
