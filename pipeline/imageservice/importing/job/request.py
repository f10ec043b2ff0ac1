"""Parse what an import asks for, out of the body of ``POST /v2/images/{id}/import``."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.imageservice.errors import Invalid

TYPE = "api_image_import"  # of the tasks behind imports
_CHECKSUM = re.compile(r"(md5|sha1|sha224|sha256|sha384|sha512):([0-9a-f]+)")
DIGITS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}


@dataclass(frozen=True)
class ImportRequest:
    """One import.

    ``stores``: those named, ``None`` when none are. ``uri``, ``region``, ``source_image`` and ``interface`` belong to
    the methods that fetch. ``checksum``: what the data must be, as ``sha256:…``; our own addition to the API.
    """

    method: str
    stores: tuple[str, ...] | None = None
    all_stores: bool = False
    all_must_succeed: bool = True
    uri: str | None = None
    region: str | None = None
    source_image: str | None = None
    interface: str = "public"
    checksum: str | None = None

    @classmethod
    def parse(cls, body: Any, methods: tuple[str, ...]) -> ImportRequest:
        """Parse a request's body. Raises ``Invalid``; unknown keys are ignored, as clients may send newer ones."""
        if not isinstance(body, dict):
            raise Invalid("An import is a JSON object with a method")
        method = body.get("method")
        if not isinstance(method, dict) or not isinstance(method.get("name"), str):
            raise Invalid("Import request requires a 'method' object with a 'name'")
        name = method["name"]
        if name not in methods:
            raise Invalid(f"Requested import method {name[:64]!r} is not enabled; enabled are: {', '.join(methods)}")
        flags = {flag: body.get(flag, default) for flag, default in _FLAGS.items()}
        for flag, value in flags.items():
            if not isinstance(value, bool):
                raise Invalid(f"{flag} must be true or false")
        return cls(
            method=name,
            stores=_stores(body),
            all_stores=flags["all_stores"],
            all_must_succeed=flags["all_stores_must_succeed"],
            uri=_text(method, "uri"),
            region=_text(method, "glance_region"),
            source_image=_text(method, "glance_image_id"),
            interface=_text(method, "glance_service_interface") or "public",
            checksum=_checksum(method),
        )

    @property
    def is_copy(self) -> bool:
        """Whether an active image gets further copies."""
        return self.method == "copy-image"

    @property
    def fetches(self) -> bool:
        """Whether the data comes from elsewhere into staging first."""
        return self.method in ("web-download", "glance-download")

    @property
    def source_id(self) -> str:
        """The id of the image that glance-download fetches, in the one form that goes into a URL."""
        return str(uuid.UUID(self.source_image))

    def require_source(self) -> None:
        """Raise ``Invalid`` unless glance-download says what to fetch from where."""
        if self.method != "glance-download":
            return
        if not self.region:
            raise Invalid("'glance_region' is required for glance-download import method")
        if not self.source_image:
            raise Invalid("'glance_image_id' is required for glance-download import method")
        try:
            uuid.UUID(self.source_image)
        except ValueError:
            raise Invalid(
                f"Remote image id does not look like a UUID: {self.source_image[:64]} does not look like a UUID"
            ) from None


_FLAGS = {"all_stores": False, "all_stores_must_succeed": True}


def _stores(body: Mapping[str, Any]) -> tuple[str, ...] | None:
    stores = body.get("stores")
    if stores is None:
        return None
    if not isinstance(stores, list) or not all(isinstance(one, str) for one in stores):
        raise Invalid("stores must be a list of store ids")
    return tuple(dict.fromkeys(stores))


def _text(method: Mapping[str, Any], key: str) -> str | None:
    value = method.get(key)
    if value is not None and not isinstance(value, str):
        raise Invalid(f"{key} must be a text")
    return value


def _checksum(method: Mapping[str, Any]) -> str | None:
    text = _text(method, "checksum")
    if text is None:
        return None
    match = _CHECKSUM.fullmatch(text.lower())
    if match is None or len(match[2]) != DIGITS[match[1]]:
        raise Invalid("checksum must be an algorithm and a hex digest, such as sha256:0123…")
    return text.lower()
