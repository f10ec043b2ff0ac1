"""Recognise files that give away a secret or the identity of the machine an image was built as, by their paths.

The paths stand in ``paths.yaml``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base import yaml_source

Condition = Callable[[bytes], str | None]

_FILE = Path(__file__).with_suffix(".yaml")
_ADDRESS = re.compile(rb"[a-z][a-z0-9+.-]*://[^\s/:@\"']{1,100}:[^\s/@\"']{1,200}@[^\s\"']")
_TOKEN = re.compile(rb"(?i)(?:_authtoken|password|oauth_token)[\"']?\s*[=:]\s*\S")
_STORAGE_NAME = re.compile(rb"(?m)^(InitiatorName=iqn|nqn\.|[0-9a-f]{8}-)")
_ANSWERS = re.compile(rb"(?i)<(\w*password|productkey)>\s*(?:<(?:value|key)>)?\s*(?!\*sensitive)[^<\s]")
_SHADOW = re.compile(rb"(?m)^([^:\n]+):(!*\$[^:]{8,}|):")
AUTHORIZED_KEYS = "authorized-keys"
_AUTHORIZED = re.compile(r"(?i).*/\.ssh/authorized_keys2?")


@dataclass(frozen=True)
class PathRule:
    """``condition`` looks at the first MiB of a file that the rule names and says what is wrong, or ``None``."""

    name: str
    fix: str
    condition: Condition


def matching(path: str) -> list[PathRule]:
    """Return the rules that name ``path``."""
    lower = path.lower()
    return [rule for rule, pattern in _rules() if pattern.fullmatch(lower)]


def unexpected_keys(path: str, head: bytes, expected: frozenset[str]) -> str | None:
    """Return what is wrong with a file of authorised keys: how many the recipe did not ask for."""
    if not _AUTHORIZED.fullmatch(path):
        return None
    lines = [line.split() for line in head.decode(errors="replace").splitlines() if line.strip() and line[0] != "#"]
    strange = [words for words in lines if not expected & set(words)]
    return f"{len(strange)} keys that the recipe does not name" if strange else None


@functools.cache
def _rules() -> Sequence[tuple[PathRule, re.Pattern[str]]]:
    entries = yaml_source.loads(_FILE.read_text(encoding="utf-8"), name=_FILE.name).data
    return [(PathRule(each["rule"], each["fix"], _condition(each)), _compile(each["paths"])) for each in entries]


def _condition(entry: dict[str, Any]) -> Condition:
    what = entry.get("what", "")
    made: dict[str, Condition] = {
        "always": lambda head: what,
        # Programs truncate files that must stay; a file of NUL bytes (lastlog) says nothing either.
        "content": lambda head: what if head.strip(b"\0 \t\r\n") else None,
        "address": lambda head: what if _ADDRESS.search(head) else None,
        "token": lambda head: what if _ADDRESS.search(head) or _TOKEN.search(head) else None,
        "storage-name": lambda head: what if _STORAGE_NAME.search(head) else None,
        "machine-id": _machine_id,
        "answers": _answers,
        "shadow": _shadow,
    }
    return made[entry["when"]]


def _machine_id(head: bytes) -> str | None:
    return None if head.strip() in (b"", b"uninitialized") else "a machine id that every guest would share"


def _answers(head: bytes) -> str | None:
    # Windows writes such files in UTF-8 and in UTF-16.
    found = {match[1].decode().lower() for match in _ANSWERS.finditer(head.replace(b"\0", b""))}
    return f"answers with {', '.join(sorted(found))}" if found else None


def _shadow(head: bytes) -> str | None:
    found = _SHADOW.findall(head)
    hashed = _names([name for name, password in found if password])
    open_ones = _names([name for name, password in found if not password])
    found_hashes = [f"password hashes of {hashed}"] if hashed else []
    return "; ".join([*found_hashes, f"no password needed for {open_ones}"] if open_ones else found_hashes) or None


def _names(accounts: list[bytes]) -> str:
    return ", ".join(account.decode(errors="replace")[:32] for account in accounts[:5])


def _compile(patterns: Sequence[str]) -> re.Pattern[str]:
    pieces = []
    for pattern in patterns:
        escaped = re.escape(pattern.lower())
        pieces.append(escaped.replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".+").replace(r"\*", "[^/]*"))
    return re.compile("|".join(pieces), re.DOTALL)
