"""Compare two documents (see ``content_key``) in words: why a unit has to run again."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

_LONGEST = 60
_MOST = 12  # changes of code that are named, for each step


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return one line for each difference."""
    return list(_changes(before, after))


def explain_changes(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> tuple[str, ...]:
    """Return why a unit with the document ``after`` has to run; ``before`` is that of its newest result, if it has
    one.
    """
    if before is None:
        return ("never built here",)
    return tuple(changes(before, after)) or ("its result is no longer in the cache",)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    if before.get("engine") != after.get("engine"):
        yield "the engine has a new format"
    if "base" in after and before.get("base") != after["base"]:
        yield "what it stands on has changed"
    old, new = before.get("steps", {}), after.get("steps", {})
    for name in sorted(set(old) - set(new)):
        yield f"{name}: no longer part of it"
    for name in new:
        if name not in old:
            yield f"{name}: new"
            continue
        yield from _code(name, old[name].get("code"), new[name]["code"])
        yield from _values(name, old[name].get("inputs", {}), new[name]["inputs"])
        yield from _values(f"{name}: tools", old[name].get("tools", {}), new[name].get("tools", {}))
        yield from _values(f"{name}: outside", old[name].get("outside", {}), new[name].get("outside", {}))


def _code(name: str, old: Mapping[str, str] | None, new: Mapping[str, str]) -> Iterator[str]:
    if old is None:
        yield f"{name}: its key holds its code by definitions now, no longer by files"
        return
    differing = [each for each in sorted({*old, *new}) if old.get(each) != new.get(each)]
    for each in differing[:_MOST]:
        how = "is new" if each not in old else "is gone" if each not in new else "has changed"
        yield f"{name}: its code {each} {how}"
    if len(differing) > _MOST:
        yield f"{name}: its code has changed in {len(differing) - _MOST} more places"


def _values(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _values(f"{path}.{key}", old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _values(f"{path}[{index}]", one, other)
    elif old != new:
        before, after = _text(old), _text(new)
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))
        begin = sum(1 for _ in same)
        yield f"{path}: {_short(before, begin)} → {_short(after, begin)}"


def _text(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)


def _short(text: str, difference: int) -> str:
    """``text``, or the part of it where it begins to differ."""
    begin = 0 if difference < _LONGEST - 20 else difference - 10
    shown = text[begin : begin + _LONGEST - 2]
    return text if len(text) <= _LONGEST else f"{'…' * (begin > 0)}{shown}{'…' * (begin + len(shown) < len(text))}"
