"""Names as clients put them into paths: as they are, so that what paths are made of does there what it does in paths.

The reference's answers to these requests are in the table; ``lifecycle/metadefs/test_reference`` holds it against the
reference itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests

_BASE = "/v2/metadefs/namespaces"
_URL = "http://image.test"
# Last those that only a quoted path reaches.
NAMESPACES = ("a", "aAb", "50%", "%zz", "a%41b", "a?b", "a#b", "/a", "a//b", "a/b")
_INNER = ("x", "xA", "x%", "x%41", "x?y", "x#y", "x/y", "//x")
CONTENTS: dict[str, Any] = {
    "visibility": "public",
    "properties": {name: {"title": "T", "type": "string"} for name in _INNER},
    "objects": [{"name": name} for name in _INNER],
    "tags": [{"name": name} for name in _INNER if name != "xA"],  # tags differ by more than case
}
# What is typed, the status, and the name of what is answered with.
_Row = tuple[str, str, int, str | None]
_SHOWN = (
    ("a", "a"),
    ("aAb", "aAb"),
    ("50%", "50%"),
    ("%zz", "%zz"),
    ("a%41b", "aAb"),
    ("a#b", "a"),
    ("/a", "a"),
    ("a//b", None),
    ("a/b", None),
    ("a/", None),
    ("a/objects/x", "x"),
    ("a/objects//x", "x"),
    ("a/objects/x?y", "x"),
    ("a/objects/x#y", "x"),
    ("a/objects/x/y", None),
    ("a/objects/x%", "x%"),
    ("a/properties/x#y", "x"),
    ("a/properties/x%41", "xA"),
    ("a/properties/x/y", None),
    ("a/tags/x?y", "x"),
    ("a/tags/x%", "x%"),
    ("a/tags/x/y", None),
    ("a#b/objects/x", "a"),
    ("//a/objects/x", "x"),
    ("a/b/objects/x", None),
)
_CHANGED: tuple[_Row, ...] = (
    ("PUT", "a/objects/x#y", 200, "new"),
    ("PUT", "a/objects/new?y", 200, "x"),
    ("PUT", "a/objects/x/y", 404, None),
    ("DELETE", "a/objects/x%41", 204, None),
    ("GET", "a/objects/xA", 404, None),
    ("DELETE", "a/tags/x/y", 404, None),
    ("DELETE", "a/tags//x", 204, None),
    ("GET", "a/tags/x", 404, None),
    ("DELETE", "a%41b", 204, None),
    ("GET", "aAb", 404, None),
    ("DELETE", "a/b", 404, None),
    ("DELETE", "a?b", 204, None),
    ("GET", "a", 404, None),
    ("DELETE", "a#b", 404, None),
)
ROWS: tuple[_Row, ...] = (*(("GET", name, 200 if found else 404, found) for name, found in _SHOWN), *_CHANGED)
# Of these the reference answers 500: it takes what stands behind the question mark for an argument of its own.
BROKEN_THERE: tuple[_Row, ...] = (
    ("GET", "a?b", 200, "a"),
    ("GET", "a/properties/x?y", 200, "x"),
)

Ask = Callable[[str, str, Any], tuple[int, Any]]


def sent(method: str, typed: str) -> str:
    """The path, with its query, that the clients' library makes of what is typed."""
    return str(requests.Request(method, f"{_URL}{_BASE}/{typed}").prepare().path_url)


def answers(ask: Ask, rows: tuple[_Row, ...]) -> list[_Row]:
    """What a service, in which the table's namespaces are, answers to the requests of the table."""
    found: list[_Row] = []
    for method, typed, _status, name in rows:
        status, document = ask(method, sent(method, typed), {"name": name} if method == "PUT" else None)
        is_shown = status == 200 and isinstance(document, dict)
        found.append((method, typed, status, document.get("namespace") or document.get("name") if is_shown else None))
    return found
