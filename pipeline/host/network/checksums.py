"""Read lists of checksums as makers of images publish them: lines of sha256sum(1), with or without ``--tag``.

A file that is one digest and nothing else is taken where its own name says which file it is of: ``x.img.sha256``.
"""

from __future__ import annotations

import re

from pipeline.base.errors import PipelineError

_BY_LENGTH = {64: "sha256", 96: "sha384", 128: "sha512"}
_PLAIN = re.compile(r"([0-9A-Fa-f]{32,128}) [ *](.+)")
_BARE = re.compile(r"[0-9A-Fa-f]{32,128}")
_TAGGED = re.compile(r"([A-Z0-9-]+) \((.+)\) = ([0-9A-Fa-f]{32,128})")


def find(text: str, name: str, *, of: str) -> tuple[str, str]:
    """Return the hash and the digest that the list ``of`` gives for the file ``name``: the strongest one.

    Raises ``PipelineError`` when it does not name the file, names it with different digests, or with weak ones only.
    """
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        match = _read(line.strip())
        if match is not None and match[0].removeprefix("./") == name:
            found.setdefault(match[1], set()).add(match[2].lower())
    if not found and (bare := _BARE.fullmatch(text.strip())):
        if not of.startswith(name):
            raise PipelineError(
                f"{of} is one digest without a name: it does not say that it is of {name}",
                hint=f"such a file is called {name}.sha256 or the like; else take the maker's list of names",
            )
        found = {_BY_LENGTH.get(len(bare[0]), "weak"): {bare[0].lower()}}
    if not found:
        raise PipelineError(f"{of} does not name {name}", hint="the maker may have renamed it: look into its folder")
    strong = [each for each in ("sha512", "sha384", "sha256") if each in found]
    if not strong:
        raise PipelineError(f"{of} has no strong checksum of {name}, only {', '.join(sorted(found))}")
    digests = found[strong[0]]
    if len(digests) != 1:
        raise PipelineError(f"{of} gives {len(digests)} different {strong[0]} checksums for {name}")
    return strong[0], next(iter(digests))


def _read(line: str) -> tuple[str, str, str] | None:
    """Name, hash and digest of a line; ``None`` for any other."""
    if match := _TAGGED.fullmatch(line):
        kind = match[1].lower().replace("-", "")
        # A tag that does not fit its digest is a mistake or a trick.
        return (match[2], kind, match[3]) if _BY_LENGTH.get(len(match[3]), kind) == kind else None
    if match := _PLAIN.fullmatch(line):
        return match[2], _BY_LENGTH.get(len(match[1]), "weak"), match[1]
    return None
