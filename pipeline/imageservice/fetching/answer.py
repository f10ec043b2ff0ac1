"""Understand an answer with data: what its headers say of the file, and its body."""

from __future__ import annotations

import http
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse

from pipeline.base.retry import TRANSIENT, retry_after
from pipeline.imageservice.fetching.errors import FetchBroken, FetchRefused
from pipeline.imageservice.fetching.wire import Wire

_RANGE = re.compile(r"bytes\s+(?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19}|\*)")
_LARGEST_READ = 256 << 10
_PAUSE = 0.02  # when the server sends nothing for so long, what has come moves on before the block is full
_LONGEST_WAIT = 0.5  # and after so long in any case, that progress is seen
# Codings that change nothing, and what a file's name ends with that is stored in one: a server that says of x.gz that
# it is coded as gzip means the file itself, which is what was asked for.
_NO_CODING = {"", "identity", "none", "binary", "utf-8", "aws-chunked"}
_CODED_NAMES = {
    "gzip": (".gz", ".tgz"),
    "x-gzip": (".gz", ".tgz"),
    "bzip2": (".bz2",),
    "x-bzip2": (".bz2",),
    "xz": (".xz",),
    "x-xz": (".xz",),
    "zstd": (".zst", ".zstd"),
}
_CODED_TYPES = {"application/gzip": "gzip", "application/x-gzip": "gzip", "application/zstd": "zstd"}
_MEANINGS = {
    401: ": it wants a name and a password",
    403: ": it does not let the service read this",
    404: ": there is no such file",
    407: ": the proxy wants a name and a password",
    410: ": the file is gone",
    451: ": the file is withheld for legal reasons",
}


@dataclass(frozen=True)
class FilePart:
    """The part of a file to ask for: from byte ``offset`` on.

    With ``validator`` only as long as it is what that names, ``total`` bytes long where that is known.
    """

    offset: int
    validator: str | None = None
    total: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """How it is asked for (RFC 9110, sections 14.2 and 13.1.5)."""
        condition = {"If-Range": self.validator} if self.validator is not None else {}
        return {"Range": f"bytes={self.offset}-", **condition}


class Answer:
    """The head of an answer and its body, which is still on the connection. ``close`` it in the end."""

    def __init__(self, response: HTTPResponse, connection: HTTPConnection, wire: Wire, uris: tuple[str, ...]) -> None:
        self.status, self.headers = response.status, response.headers
        self._response, self._connection, self._wire, self._uris = response, connection, wire, uris
        self._received = 0
        self._failure: FetchBroken | None = None
        self.ended = False

    @property
    def length(self) -> int | None:
        """Bytes of the body, where they are announced."""
        announced = {text.strip() for text in self.headers.get("Content-Length", "").split(",")}
        text = announced.pop()
        known = not announced and text.isdecimal() and text.isascii() and "Transfer-Encoding" not in self.headers
        return int(text) if known and len(text) < 20 else None

    @property
    def validator(self) -> str | None:
        """What names exactly this state of the file, a strong ETag (RFC 9110, 8.8.3), if the server may send parts."""
        tag = self.headers.get("ETag")
        if tag is None or self.headers.get("Accept-Ranges", "").strip().lower() == "none":
            return None
        return tag if re.fullmatch(r'"[\x21\x23-\x7e]{1,500}"', tag) else None

    @property
    def begin(self) -> int:
        """Which of the file's bytes comes first."""
        match = _RANGE.fullmatch(self.headers.get("Content-Range", "").strip())
        return int(match[1]) if self.status == 206 and match and match[1] else 0

    @property
    def total(self) -> int | None:
        """Bytes of the whole file, where they are told."""
        match = _RANGE.fullmatch(self.headers.get("Content-Range", "").strip())
        if self.status in (206, 416):
            return int(match[3]) if match and match[3] != "*" else None
        return self.length

    def is_rest(self, part: FilePart) -> bool:
        """Return whether this is the part that was asked for, to the file's end, and nothing but that."""
        match = _RANGE.fullmatch(self.headers.get("Content-Range", "").strip())
        if self.status != 206 or match is None or not match[1] or int(match[1]) != part.offset:
            return False
        if match[3] != "*" and int(match[2]) + 1 != int(match[3]):
            return False
        if part.total is not None and self.total not in (None, part.total):
            return False
        # Not every server heeds If-Range: without the same tag it may be another file's rest.
        return part.validator is None or self.headers.get("ETag") == part.validator

    def require_data(self) -> None:
        """Raise ``FetchBroken`` or ``FetchRefused`` unless this is data whose end can be told."""
        if self.status not in (200, 206):
            raise self._no_data()
        if self._coding():
            raise FetchRefused("The source sends its data in an encoding that was not asked for")
        transfer = self.headers.get("Transfer-Encoding", "").strip().lower()
        if (transfer and transfer != "chunked") or (not transfer and self.length is None):
            # An end that is nothing but the connection's end cannot be told from a broken connection.
            raise FetchRefused("The source does not say how long its data is")

    def readinto(self, view: memoryview) -> int:
        """Return some bytes of the body, as many as fit while the server keeps sending; 0 at its end.

        Raises ``FetchBroken`` when the body ends early, after all that came has been handed out.
        """
        done, until = 0, time.monotonic() + _LONGEST_WAIT
        while done < len(view) and not self.ended and self._failure is None:
            if done and (time.monotonic() > until or not self._wire.has_more(_PAUSE)):
                break
            try:
                data = self._read(min(len(view) - done, _LARGEST_READ))
            except FetchBroken as error:
                self._failure = error
                break
            view[done : done + len(data)] = data
            done += len(data)
        if not done and self._failure is not None:
            raise self._failure
        return done

    def close(self) -> None:
        """Let go of the connection."""
        self._response.close()
        self._connection.close()

    def _read(self, size: int) -> bytes:
        try:
            data = self._response.read1(size, decode_content=False)
        except (HTTPError, OSError, ValueError) as error:
            raise self._cut() from error
        self._received += len(data)
        if not data or self._received == self.length:
            self.ended = True
            if self.length is not None and self._received < self.length:
                raise self._cut()
        return data

    def _cut(self) -> FetchBroken:
        whole = f" of {self.length}" if self.length is not None else ""
        return FetchBroken(f"The source broke the connection off after {self._received}{whole} bytes")

    def _coding(self) -> set[str]:
        """Return the codings that the file itself does not have."""
        codings = {text.strip().lower() for text in self.headers.get("Content-Encoding", "").split(",")} - _NO_CODING
        paths = [urlsplit(uri).path.lower() for uri in self._uris]
        paths.append(self.headers.get("Content-Disposition", "").lower().rstrip('"; '))
        kind = _CODED_TYPES.get(self.headers.get("Content-Type", "").partition(";")[0].strip().lower())
        stored = {
            coding
            for coding in codings
            if coding.removeprefix("x-") == kind or any(path.endswith(_CODED_NAMES.get(coding, ())) for path in paths)
        }
        return codings - stored

    def _no_data(self) -> FetchBroken | FetchRefused:
        status = self.status
        text = f"The source answered with status {status} ({_phrase(status)})"
        if status in TRANSIENT:
            return FetchBroken(text, retry_after=retry_after(self.headers.get("Retry-After")))
        return FetchRefused(f"{text}{_MEANINGS.get(status, '')}", status=status, total=self.total)


def _phrase(status: int) -> str:
    """Return what a status means, in words of our own: the server's may be anything."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "unknown"


def headers_for(user_agent: str, host: str, more: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a request."""
    fixed = {"Host": host, "User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "identity"}
    return {**fixed, "Connection": "close", **more}
