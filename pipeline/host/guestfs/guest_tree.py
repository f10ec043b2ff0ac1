"""List every path of a guest once, and find in that list what shell patterns match, by the guest's own links.

Names are bytes to Linux: those that are not UTF-8 are kept as Python's surrogate escapes.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.host.guestfs import appliance_shell

# What snapper took is of another time, and read-only; 256 is the number of each subvolume's own folder.
_SNAPSHOTS = "-path '*/.snapshots/*/snapshot' -inum 256 -prune"
_COMMAND = f"cd /sysroot; find . -mindepth 1 {_SNAPSHOTS} -o -printf '%y%P\\0%l\\0'"
# Some two million paths. It lies in the appliance's memory as a whole.
_MOST = 160 << 20
# As the kernel: path_resolution(7).
_MAX_LINKS = 40


@dataclass
class GuestTree:
    """All paths of a guest by what they are (``find``'s letters: f, d, l, ...), and where links lead."""

    kinds: dict[str, str] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    _names: dict[str, dict[str, None]] = field(default_factory=dict)

    def add(self, path: str, kind: str, target: str = "") -> None:
        """Note a path, and the folders that it lies in."""
        self.kinds[path] = kind
        if kind == "l":
            self.targets[path] = target
        while path:
            folder, _, name = path.rpartition("/")
            if name in self._names.setdefault(folder, {}):
                return
            self._names[folder][name] = None
            if folder:
                self.kinds.setdefault(folder, "d")
            path = folder

    def remove(self, path: str) -> None:
        """Forget a path as it lies on the disk, with everything below it."""
        for name in list(self._names.pop(path, {})):
            self.remove(f"{path}/{name}")
        folder, _, name = path.rpartition("/")
        self._names.get(folder, {}).pop(name, None)
        self.kinds.pop(path, None)
        self.targets.pop(path, None)

    def real(self, path: str) -> str | None:
        """Return the path without links on the way, as it lies on the disk; ``None`` when there is nothing there.

        A link at the end is not followed: ``target`` does that.
        """
        folder, _, name = path.rstrip("/").rpartition("/")
        if not name:
            return ""
        lies_in = self.target(folder)
        found = None if lies_in is None else f"{lies_in}/{name}"
        return found if found in self.kinds else None

    def target(self, path: str) -> str | None:
        """Return what a path leads to, as it lies on the disk; ``None`` when it leads nowhere. The root is empty."""
        return self._resolved("", path.split("/"), _MAX_LINKS)

    def _resolved(self, at: str, parts: Iterable[str], links: int) -> str | None:
        rest = [part for part in reversed(list(parts)) if part not in ("", ".")]
        while rest:
            part = rest.pop()
            if part == "..":
                at = at.rpartition("/")[0]
                continue
            at, above = f"{at}/{part}", at
            if self.kinds.get(at) == "l":
                links -= 1
                target = self.targets[at]
                at = "" if target.startswith("/") else above
                rest += [part for part in reversed(target.split("/")) if part not in ("", ".")]
            elif at not in self.kinds:
                return None
            if links < 0:
                return None
        return at

    def is_file(self, path: str) -> bool:
        """Return whether a path is a plain file itself."""
        real = self.real(path)
        return real is not None and self.kinds.get(real) == "f"

    def glob(self, pattern: str) -> list[str]:
        """Return the paths that match a shell pattern, sorted; a pattern that ends in ``/`` matches folders only, and
        they come with it. Raises ``ValueError`` for one that does not start with ``/``.
        """
        start, *parts = pattern.split("/")
        if start:
            raise ValueError(f"not a pattern of whole paths: {pattern}")
        return sorted(self._matching("", parts))

    def _matching(self, spelled: str, parts: list[str]) -> Iterator[str]:
        part, *rest = parts
        if not part:
            if self._is_folder(spelled):
                yield f"{spelled}/"
            return
        lies_in = self.target(spelled)
        if lies_in is None:
            return
        names = self._names.get(lies_in, {})
        matches = _component(part)
        # A plain name needs no look at all the others.
        found = [name for name in names if matches(name)] if re.search(r"[*?[]", part) else [part] * (part in names)
        for name in found:
            if rest:
                yield from self._matching(f"{spelled}/{name}", rest)
            else:
                yield f"{spelled}/{name}"

    def _is_folder(self, path: str) -> bool:
        target = self.target(path)
        return target is not None and (not target or self.kinds.get(target) == "d")


def read(handle: Any) -> GuestTree:
    """List the mounted file systems. Raises ``PipelineError`` where that is more than can be held."""
    return parsed(appliance_shell.read(handle, _COMMAND, most=_MOST))


def parsed(listing: bytes) -> GuestTree:
    """Return the tree of a listing: kind and path, and where it leads, each ended by a zero byte."""
    tree = GuestTree()
    texts = iter(listing.decode(errors="surrogateescape").split("\0"))
    for found, target in zip(texts, texts, strict=False):
        if len(found) > 1:
            tree.add(f"/{found[1:]}", found[0], target)
    return tree


@functools.cache
def _component(pattern: str) -> Any:
    """Whether a name matches one part of a pattern. As in shells, a dot at its start must be asked for."""
    match = re.compile(fnmatch.translate(pattern), re.DOTALL).match
    if pattern.startswith("."):
        return match
    return lambda name: not name.startswith(".") and match(name)
