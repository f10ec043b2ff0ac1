"""Lift the attributes that keep files as they are, ``i`` and ``a`` of chattr(1), while something is done to them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.host.guestfs import appliance_shell

# How libguestfs and the programs of the appliance, whose locale is C, say what such a file answers.
REFUSED = "Operation not permitted"
_LISTED = re.compile(r"(?P<flags>(?=[a-zA-Z]*-)[-a-zA-Z]+) \.(?P<path>/[^\n]*|)")
_FOUND = "cd /sysroot; xargs -0 -r sh -c 'for p; do {each}; done' sh <{names} 2>/dev/null; true"
_ONE, _ALL = 'lsattr -d -- "$p"', 'find "$p" "(" -type f -o -type d ")" -exec lsattr -d -- {} +'
# Of what is still there.
_CHANGE = (
    """cd /sysroot; xargs -0 -r sh -c 'for p; do [ ! -e "$p" ] || chattr {change} -- "$p" || exit; done' sh <{names}"""
)


def lift(handle: Any, paths: Iterable[str], *, below: Iterable[str] = ()) -> dict[str, str]:
    """Take both attributes from ``paths`` and from everything at and below ``below``, as they lie on the disk; return
    path → letters of what had any.
    """
    found: dict[str, str] = {}
    for each, names in ((_ONE, paths), (_ALL, below)):
        listed = appliance_shell.put_names(handle, (f".{name}" for name in names))
        found |= parsed(appliance_shell.read(handle, _FOUND.format(each=each, names=listed)))
    if found:
        _change(handle, "-ia", found)
    return found


def put_back(handle: Any, lifted: Mapping[str, str]) -> None:
    """Give the attributes back to what is still there."""
    for letter in "ai":
        paths = [path for path, letters in lifted.items() if letter in letters]
        if paths:
            _change(handle, f"+{letter}", paths)


def parsed(listing: bytes) -> dict[str, str]:
    """Return path → letters of what lsattr(1) lists with at least one of both attributes."""
    found = {}
    for line in listing.decode(errors="surrogateescape").split("\n"):
        match = _LISTED.fullmatch(line)
        letters = "".join(letter for letter in "ai" if match and letter in match["flags"])
        if match and letters:
            found[match["path"]] = letters
    return found


def notes(lifted: Mapping[str, str]) -> list[str]:
    """Return the words on each path whose attributes were lifted."""
    return [
        f"{path or '/'} has the attribute {' and '.join(letters)} (chattr): it is changed nevertheless"
        for path, letters in lifted.items()
    ]


def _change(handle: Any, change: str, paths: Iterable[str]) -> None:
    names = appliance_shell.put_names(handle, (f".{path}" for path in paths))
    appliance_shell.read(handle, _CHANGE.format(change=change, names=names))
