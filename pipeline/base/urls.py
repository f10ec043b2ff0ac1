"""Write addresses in ASCII for the wire, without secrets for people, and hosts in the one form that compares."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import SplitResult, quote, urlsplit

import idna

_AUTHORITY = re.compile(
    r"(?P<scheme>(?:[A-Za-z][A-Za-z0-9+.-]*:)?//)(?:[^/\\?#]*@)?(?P<place>(?:\[[^\]@]*\]|[^:@\[\]/\\?#]+)(?::\d*)?)(?=[/?#]|$)"
)
_NOT_PLAIN = re.compile(r"[^\x21-\x7e]+")


def without_secrets(url: str) -> str:
    """Return the URL for messages and logs: without user, password, query (which may hold a signature) and fragment.

    Takes any text: of one that is no URL, everything goes that a sloppy parser might take for a password.
    """
    match = _AUTHORITY.match(url)
    if match is not None:
        rest = url[match.end() :]
        if ":" not in rest.rpartition("@")[0]:
            return match["scheme"] + match["place"] + _bare(rest)
    _, at, rest = url.rpartition("@")
    return f"…@{_bare(rest)}" if at else _bare(rest)


def _bare(text: str) -> str:
    return re.split(r"[?#]", text, maxsplit=1)[0]


def to_ascii(url: str) -> str:
    """Return the URL as it goes over the wire: what is not ASCII as percent-encoded UTF-8 (RFC 3987, 3.1), the host by
    IDNA.

    A URL that is plain ASCII comes back as it is. Raises ``ValueError`` for what is none.
    """
    if not _NOT_PLAIN.search(url):
        return url
    parts = urlsplit(url.strip())
    return SplitResult(
        parts.scheme,
        parts.netloc if parts.netloc.isascii() else _authority(parts),
        *(_NOT_PLAIN.sub(_percent, text) for text in (parts.path, parts.query, parts.fragment)),
    ).geturl()


def host_name(host: str) -> str:
    """Return a host in the form that compares: lower case, no dot at the end, other alphabets by NFKC and IDNA (UTS
    46).

    Raises ``ValueError`` for a name that has no such form.
    """
    if host.isascii():
        return host.lower().rstrip(".")
    mapped = idna.uts46_remap(unicodedata.normalize("NFKC", host), std3_rules=False, transitional=False)
    if mapped.isascii():
        return mapped.lower().rstrip(".")
    return idna.encode(mapped.rstrip("."), uts46=True).decode("ascii").lower()


def _authority(parts: SplitResult) -> str:
    user, at, _ = parts.netloc.rpartition("@")
    port = f":{parts.port}" if parts.port is not None else ""
    return f"{_NOT_PLAIN.sub(_percent, user)}{at}{host_name(parts.hostname or '')}{port}"


def _percent(match: re.Match[str]) -> str:
    return quote(match[0].encode("utf-8", "surrogateescape"), safe="")
