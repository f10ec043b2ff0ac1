"""Search for what secrets look like in bytes, in a stream of any length.

A needle is found by a fixed piece of it (fast: memory is searched at its own speed) and confirmed by a pattern around
that piece (exact). Known secrets are looked for as they are and as programs like to write them: UTF-16, base64 at
each of its three alignments, hexadecimal.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline.base.errors import PipelineError

MIN_SECRET = 8
_BEFORE, _AFTER = 128, 8 << 10
KNOWN = "known-secret"


@dataclass(frozen=True)
class Needle:
    """One thing to look for. ``confirm`` must match around ``literal``; without it, the literal is enough."""

    rule: str
    what: str
    fix: str
    literal: bytes
    confirm: re.Pattern[bytes] | None = None


@dataclass(frozen=True)
class Hit:
    """A needle found at ``offset`` of the stream; ``text`` is what matched."""

    needle: Needle
    offset: int
    text: bytes


class Searcher:
    """Looks for needles in blocks that follow each other; nothing hides on a border between two blocks."""

    def __init__(self, needles: Iterable[Needle]) -> None:
        self._needles = tuple(needles)
        self._kept = b""
        self._start = 0  # where in the stream the kept bytes begin
        self._next: dict[Needle, int] = {}  # nothing before this offset is looked at again

    def feed(self, block: bytes) -> Iterator[Hit]:
        """Take the next block; give what can be told now."""
        buffer = self._kept + block
        if len(buffer) > _BEFORE + _AFTER:
            yield from self._search(buffer, len(buffer) - _AFTER)
            keep = _BEFORE + _AFTER
            self._start += len(buffer) - keep
            buffer = buffer[-keep:]
        self._kept = buffer

    def finish(self) -> Iterator[Hit]:
        """Yield the rest: the stream has ended."""
        yield from self._search(self._kept, len(self._kept))
        self._start += len(self._kept)
        self._kept = b""

    def skip(self, count: int) -> Iterator[Hit]:
        """Skip ``count`` bytes that hold nothing (a hole); what is before and behind them does not touch."""
        yield from self.finish()
        self._start += count

    def _search(self, buffer: bytes, end: int) -> Iterator[Hit]:
        for needle in self._needles:
            at = max(0, self._next.get(needle, 0) - self._start)
            while (at := buffer.find(needle.literal, at)) != -1 and at < end:
                text = _confirmed(needle, buffer, at)
                if text is not None:
                    yield Hit(needle, self._start + at, text)
                at += len(needle.literal)
            self._next[needle] = self._start + max(end, 0)


def _confirmed(needle: Needle, buffer: bytes, at: int) -> bytes | None:
    if needle.confirm is None:
        return needle.literal
    window = buffer[max(0, at - _BEFORE) : at + _AFTER]
    location = min(at, _BEFORE)
    for match in needle.confirm.finditer(window):
        if match.start() <= location < match.end():
            return match[0]
    return None


def known(secrets: Iterable[bytes]) -> list[Needle]:
    """Return needles for secrets whose value is known. Raises ``PipelineError`` for one too short
    to tell from chance.
    """
    found = []
    for number, secret in enumerate(dict.fromkeys(secrets), 1):
        if len(secret) < MIN_SECRET:
            raise PipelineError(
                f"build secret {number} is shorter than {MIN_SECRET} bytes: it would be found everywhere",
                hint="use longer secrets in builds",
            )
        found += [
            Needle(KNOWN, f"build secret {number}, {name}", "remove it and scrub", spelling)
            for name, spelling in _spellings(secret)
        ]
    return found


def _spellings(secret: bytes) -> Iterator[tuple[str, bytes]]:
    yield "as it is", secret
    yield from _in_base64(secret, "base64")
    try:
        wide = secret.decode().encode("utf-16-le")
    except UnicodeDecodeError:
        pass
    else:
        yield "in UTF-16", wide
        # So write answer files of Windows their passwords, and PowerShell its commands.
        yield from _in_base64(wide, "base64 of UTF-16")
    yield from (("in hexadecimal", text.encode()) for text in dict.fromkeys((secret.hex(), secret.hex().upper())))


def _in_base64(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    for shift in range(3):
        # The characters that are made of the data alone, wherever its first byte falls in a group of three.
        encoded = base64.b64encode(bytes(shift) + data)
        piece = encoded[-(-shift * 8 // 6) : (shift + len(data)) * 8 // 6]
        yield f"in {name}", piece
        if piece.translate(_URL_SAFE) != piece:
            yield f"in URL-safe {name}", piece.translate(_URL_SAFE)


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def _wide(text: str) -> bytes:
    return text.encode("utf-16-le")


# One line is enough: NTFS keeps small files within its own records, whose sectors end in two bytes that are not theirs.
_BODY = rb"[A-Za-z0-9+/=]{40,80}\r?\n"
_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]+ ){0,2}PRIVATE KEY-----\r?\n(?:[A-Za-z-]+: [^\n]{1,200}\n){0,4}\r?\n?" + _BODY
)
_WIDE_KEY = re.compile(_wide("-----BEGIN ") + rb"(?:[A-Z0-9 ]\0){0,24}" + _wide("PRIVATE KEY-----"))
_PGP_KEY = re.compile(rb"-----BEGIN PGP PRIVATE KEY BLOCK-----\r?\n(?:[A-Za-z]+: [^\n]{1,200}\n){0,4}\r?\n" + _BODY)
_AGE_KEY = re.compile(rb"AGE-SECRET-KEY-1[A-Z0-9]{58}")
_PUTTY_KEY = re.compile(rb"PuTTY-User-Key-File-\d: \S+\r?\n[\s\S]{0,4000}?Private-Lines: \d+")
_SHADOW = re.compile(
    rb"[a-zA-Z_][a-zA-Z0-9_.-]{0,31}:!{0,2}\$(?:1|2[abxy]?|5|6|7|y|gy)\$[A-Za-z0-9./$=,]{16,}:\d{0,7}:"
)
_ROOTPW = re.compile(rb"(?:^|\n)rootpw +(?:--iscrypted +\$\S{12,}|--plaintext +\S+)")
_ANSWER = re.compile(rb"<(?:Administrator)?Password>\s*<Value>(?!\*SENSITIVE)[^<\s]{4,}</Value>", re.IGNORECASE)
_JOIN = re.compile(rb"<Credentials>[^\0]{0,400}?<Password>\s*(?!\*SENSITIVE)[^<\s]{4,}\s*</Password>", re.IGNORECASE)
_WIDE_ANSWER = re.compile(_wide("Password>") + rb"[\s\0]*" + _wide("<Value>") + rb"(?![\s\0]*(?:\*\0|<\0))")
_AWS = re.compile(rb"aws_secret_access_key\s*[=:]\s*[\"']?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])")
_GITHUB = re.compile(rb"(?<![A-Za-z0-9_])gh[pousr]_[A-Za-z0-9]{36,}")
_VAULT = re.compile(rb"(?<![A-Za-z0-9_.])hvs\.[A-Za-z0-9_-]{24,}")

_KEY_FIX = "remove the key; if it was ever used, replace it everywhere"
_HASH_FIX = "lock the account's password (passwd -l leaves the hash; usermod -p '*' does not)"
_ANSWER_FIX = "remove the answer file and change the password it sets"
_TOKEN_FIX = "revoke the token and remove it"  # noqa: S105

# What is recognised without being known, in files and in free space alike.
GENERIC = (
    Needle("private-key", "a private key in PEM", _KEY_FIX, b"PRIVATE KEY-----\n", _KEY),
    Needle("private-key", "a private key in PEM", _KEY_FIX, b"PRIVATE KEY-----\r\n", _KEY),
    Needle("private-key", "a private key in UTF-16", _KEY_FIX, _wide("PRIVATE KEY-----"), _WIDE_KEY),
    Needle("private-key", "a PGP private key", _KEY_FIX, b"PGP PRIVATE KEY BLOCK-----", _PGP_KEY),
    Needle("private-key", "a PuTTY private key", _KEY_FIX, b"PuTTY-User-Key-File-", _PUTTY_KEY),
    Needle("private-key", "an age private key", _KEY_FIX, b"AGE-SECRET-KEY-1", _AGE_KEY),
    *(
        Needle("password-hash", "a password's hash", _HASH_FIX, literal, _SHADOW)
        for literal in (b"$6$", b"$5$", b"$y$", b"$gy$", b"$7$", b"$1$", b"$2a$", b"$2b$", b"$2y$")
    ),
    Needle("answer-file", "a kickstart's root password", _ANSWER_FIX, b"rootpw ", _ROOTPW),
    Needle("answer-file", "a password of an answer file", _ANSWER_FIX, b"Password>", _ANSWER),
    Needle("answer-file", "the password that joins a domain", _ANSWER_FIX, b"<Credentials>", _JOIN),
    Needle("answer-file", "a password of an answer file", _ANSWER_FIX, _wide("Password>"), _WIDE_ANSWER),
    Needle("token", "an AWS secret key", _TOKEN_FIX, b"aws_secret_access_key", _AWS),
    *(Needle("token", "a GitHub token", _TOKEN_FIX, b"gh%c_" % kind, _GITHUB) for kind in b"pousr"),
    Needle("token", "a Vault token", _TOKEN_FIX, b"hvs.", _VAULT),
)
