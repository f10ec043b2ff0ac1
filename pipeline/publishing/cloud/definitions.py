"""Read a cloud's metadata definitions of images: what it says that properties mean, and which values they take.

Clouds are strangers: what is read has bounds, and what is not formed as the API has it says nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from pipeline.base import json_text
from pipeline.image.definitions.judge import DefinedProperties
from pipeline.publishing.cloud.errors import CloudError, CloudNotFound
from pipeline.publishing.cloud.http import Http

_IMAGE = "OS::Glance::Image"
_PAGE = 100
NAMESPACES = 500
BYTES = 16 << 20
SECONDS = 60.0


@dataclass
class _Room:
    """What may still be read, and until when."""

    size: int
    end: float


class DefinitionsUnreadable(CloudError):
    """A cloud's definitions cannot be read, and why."""


def read(http: Http) -> DefinedProperties:
    """Return what the cloud defines of images' properties; nothing of one that knows no definitions.

    Raises ``CloudError`` when that cannot be read whole.
    """
    known, room = DefinedProperties(), _Room(BYTES, time.monotonic() + SECONDS)
    try:
        namespaces = list(_namespaces(http, room))
    except CloudNotFound:
        return known
    for name, prefix in namespaces:
        path, what = f"/metadefs/namespaces/{quote(name, safe=':')}", f"read definitions {name[:80]}"
        try:
            document = _get(http, path, what, room)
        except CloudNotFound:
            continue  # somebody deleted it meanwhile
        for properties in _contents(document):
            good = {key: one for key, one in properties.items() if isinstance(one, dict)}
            known.add(name[:80], prefix, good)
    return known


def _namespaces(http: Http, room: _Room) -> Iterator[tuple[str, str]]:
    """Yield the namespaces for images, each with the prefix of its properties there."""
    marker, seen = "", set[str]()
    while True:
        query = {"resource_types": _IMAGE, "limit": str(_PAGE), "sort_key": "namespace", "sort_dir": "asc"}
        query |= {"marker": marker} if marker else {}
        document = _get(http, f"/metadefs/namespaces?{urlencode(query)}", "list metadata definitions", room)
        entries = document.get("namespaces")
        page = [one for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
        names = [str(one.get("namespace", "")) for one in page]
        for name, one in zip(names, page, strict=True):
            if name and name not in seen:
                yield name, _prefix(one)
        if not names or not document.get("next") or seen.issuperset(names):
            return
        seen.update(names)
        marker = names[-1]
        if len(seen) >= NAMESPACES:
            raise DefinitionsUnreadable(f"cloud {http.cloud} has more than {NAMESPACES} namespaces of definitions")


def _prefix(namespace: Mapping[str, Any]) -> str:
    associations = namespace.get("resource_type_associations")
    for association in associations if isinstance(associations, list) else ():
        if isinstance(association, dict) and association.get("name") == _IMAGE:
            return str(association.get("prefix") or "")
    return ""


def _contents(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    objects = document.get("objects")
    for part in (document, *(objects if isinstance(objects, list) else ())):
        if isinstance(part, dict) and isinstance(part.get("properties"), dict):
            yield part["properties"]


def _get(http: Http, path: str, what: str, room: _Room) -> Mapping[str, Any]:
    """Return the document at ``path``, which takes of the room."""
    found = bytearray()
    with http.blocks(path, what) as (_, blocks):
        for block in blocks:
            found += block
            if len(found) > room.size:
                raise DefinitionsUnreadable(f"cloud {http.cloud} has more than {BYTES >> 20} MiB of definitions")
            if time.monotonic() > room.end:
                raise DefinitionsUnreadable(f"cloud {http.cloud} takes more than {SECONDS:.0f} seconds to tell them")
    room.size -= len(found)
    try:
        document = json_text.loads(found)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise DefinitionsUnreadable(f"cloud {http.cloud} answered with something that is no JSON document ({what})")
    return document
