"""Read everything that is in a guest but times, so that what a build changed can be told from what it must not."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from pipeline.host.guestfs import appliance_shell, attributes, manifest
from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.guest_system import GuestSystem

_FLAGS = "cd /sysroot; find . '(' -type f -o -type d ')' -exec lsattr -d -- {} + 2>/dev/null; true"


def read(image: Path, appliance: Appliance, *, image_format: str = "qcow2") -> dict[str, Any]:
    """What is in an image, as ``read_mounted`` tells it."""
    with appliance.launched([Drive(image, image_format, read_only=True)]) as handle:
        GuestSystem.open(handle, appliance.log)
        return read_mounted(handle, appliance.scratch)


def read_mounted(handle: Any, scratch: Path) -> dict[str, Any]:
    """Path → kind, mode, owner, digest, attributes (access lists and labels, too), other names, chattr's flags."""
    nodes = {node.path: node for node in manifest.nodes(handle, scratch)}
    flags = attributes.parsed(appliance_shell.read(handle, _FLAGS))
    names: dict[str, set[str]] = defaultdict(set)
    for path, node in nodes.items():
        first = "/" + node.content.removeprefix("./") if node.kind == "hard link" else path
        names[first] |= {first, path}
    found = {}
    for group in names.values():
        # Which name of a file comes first is up to its folder: the data stand there, the others lead to it.
        holder = next(nodes[path] for path in group if nodes[path].kind != "hard link")
        for path in group:
            found[path] = (*holder.identity[1:], tuple(sorted(group)), flags.get(path, ""))
    return found


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Path → what it was and what it is, of all that differ."""
    return {
        path: (before.get(path), after.get(path))
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    }
