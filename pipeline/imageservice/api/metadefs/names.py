"""Carry names in paths: any name can be a segment, also one with ``/``, ``?``, ``#`` or ``%`` in it.

Servers unquote a path before its segments are cut, so that a quoted ``/`` would cut one. Here segments are cut first;
those with ``/`` or ``%`` in them go through the router quoted anew, and resources unquote what they get.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

BASE = "/v2/metadefs"
_INSIDE = f"{BASE}/"


def routed(environ: Mapping[str, Any], path: str) -> str:
    """Return ``path`` as the router is to see it, with the segments that the client sent."""
    if not path.startswith(_INSIDE):
        return path
    tail = path.removeprefix(_INSIDE)
    raw = str(environ.get("RAW_URI", "")).partition("?")[0].partition("/metadefs/")[2]
    sent = [unquote(segment) for segment in raw.split("/")]
    # A server or proxy that tells no raw path, or another one: then what it made of it has to do.
    segments = sent if "/".join(sent) == tail else tail.split("/")
    # No name is empty: one slash after another is one, as in the reference.
    segments = [*(segment for segment in segments[:-1] if segment), segments[-1]]
    return _INSIDE + "/".join(segment.replace("%", "%25").replace("/", "%2F") for segment in segments)


def named(segment: str) -> str:
    """Return the name in a segment that the router found."""
    return unquote(segment)


def link(*segments: str) -> str:
    """Return the path of a thing under ``/v2/metadefs/namespaces``, as links have it."""
    return "/".join([f"{BASE}/namespaces", *(quote(segment, safe=":") for segment in segments)])
