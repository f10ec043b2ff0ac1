"""Parse patches of the image document, in the two forms clients send, into plain operations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.imageservice.errors import Invalid, LimitExceeded

Verb = Literal["add", "replace", "remove"]
VERBS: tuple[Verb, ...] = ("add", "replace", "remove")
_PLAIN = re.compile(r"/[^/~\s]+")  # nearly all pointers there are; the rest is looked at more closely
_BARE_TILDE = re.compile(r"~(?![01])")


@dataclass(frozen=True, slots=True)
class Operation:
    """One change: ``name`` is the field or property; ``index`` a place in the list of locations (``-``: its end).

    With ``strict``, adding what is there already is a conflict (the older of the two forms).
    """

    verb: Verb
    name: str
    value: Any = None
    index: str | None = None
    strict: bool = False


def parse(document: Any, *, old_form: bool, most: int) -> list[Operation]:
    """Return the operations of a patch, in order. Raises ``Invalid``, and ``LimitExceeded`` for more than ``most``.

    ``old_form``: each item has its verb as the key (``{"replace": "/name", "value": …}``) instead of ``op``.
    """
    if not isinstance(document, list):
        raise Invalid("Request body must be a JSON array of operation objects.")
    if len(document) > most:
        raise LimitExceeded(f"The patch has {len(document)} operations, at most {most} are taken: send it in parts")
    return [_operation(item, old_form) for item in document]


def _operation(item: Any, old_form: bool) -> Operation:
    if not isinstance(item, dict):
        raise Invalid("Operations must be JSON objects.")
    verb, pointer = _old_head(item) if old_form else _head(item)
    if verb not in VERBS:
        raise Invalid(f"Unable to find or invalid operation {str(verb)[:64]!r}: use add, replace or remove")
    if verb != "remove" and "value" not in item:
        raise Invalid(f'Operation "{verb}" requires a member named "value".')
    tokens = parse_pointer(pointer)
    name, index = tokens[0], tokens[1] if len(tokens) > 1 else None
    _check_depth(verb, pointer, tokens)
    return Operation(verb, name, item.get("value"), index, old_form)


def _head(item: Mapping[str, Any]) -> tuple[Verb, Any]:
    for key in ("op", "path"):
        if key not in item:
            raise Invalid(f'Unable to find "{key}" in JSON Schema change')
    return item["op"], item["path"]


def _old_head(item: Mapping[str, Any]) -> tuple[Verb, Any]:
    verbs = [verb for verb in VERBS if verb in item]
    if len(verbs) != 1:
        raise Invalid("Operation objects must contain only one member named 'add', 'remove', or 'replace'.")
    return verbs[0], item[verbs[0]]


def parse_pointer(pointer: Any) -> list[str]:
    """Return the tokens of a JSON pointer (RFC 6901), of which the API takes a narrower form. Raises ``Invalid``."""
    if not isinstance(pointer, str):
        raise Invalid("A path must be a string.")
    if _PLAIN.fullmatch(pointer):
        return [pointer[1:]]
    shown = pointer[:300]
    if not pointer.startswith("/"):
        raise Invalid(f"Pointer `{shown}` does not start with '/'.")
    if re.search(r"/\s*?/", pointer[1:]) or pointer.startswith("//"):
        raise Invalid(f"Pointer `{shown}` contains adjacent '/'.")
    if len(pointer) > 1 and pointer.endswith("/"):
        raise Invalid(f"Pointer `{shown}` ends with '/'.")
    if pointer[1:].strip() == "/" or not pointer[1:].strip():
        raise Invalid(f"Pointer `{shown}` does not contain a valid token.")
    if _BARE_TILDE.search(pointer):
        raise Invalid(f"Pointer `{shown}` contains '~' that is not part of a recognized escape sequence.")
    return [token.strip().replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]


def _check_depth(verb: Verb, pointer: Any, tokens: list[str]) -> None:
    in_locations = tokens[0] == "locations" and verb in ("add", "remove")
    if not in_locations and len(tokens) == 1:
        return
    if in_locations and len(tokens) == 2 and (tokens[1].isdecimal() or (tokens[1] == "-" and verb == "add")):
        return
    raise Invalid(f"Invalid JSON pointer for this resource: '{str(pointer)[:300]}'")
