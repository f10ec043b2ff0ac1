"""Filter from where the service fetches data on somebody's behalf (SSRF): one filter for every such path and redirect.

A URI passes when scheme, host and port are allowed *and* every address its host resolves to is one the operator lets
the service reach: not itself, not the cloud's inner networks, not the metadata service. Whoever fetches connects only
to the addresses that were checked (``CheckedUri.addresses``), so that a name cannot lead elsewhere a moment later.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from pipeline.base.urls import host_name, to_ascii, without_secrets
from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.fetching.addresses import Address, embedded, is_plainly_global
from pipeline.imageservice.fetching.options import FetchOptions

_DEFAULT_PORTS = {"http": 80, "https": 443}
# A name as resolvers know them, or an address without a zone. Some who fetch for us decode what is percent-encoded,
# and no list of hosts would have seen which name that is.
_HOST = re.compile(r"[a-z0-9._-]*|[0-9a-f:.]*")


class HostUnreachable(Invalid):
    """The URI's host has no address now that may be reached."""


@dataclass(frozen=True, slots=True)
class CheckedUri:
    """A URI that passed, in ASCII, its host as it compares, and the addresses it may be fetched from."""

    uri: str
    host: str
    port: int
    addresses: tuple[str, ...]


class SsrfFilter:
    """The filter as configured."""

    def __init__(self, options: FetchOptions) -> None:
        self._options = options
        self._networks = [ipaddress.ip_network(text) for text in options.allowed_networks]
        self._allowed_hosts = _normal_hosts(options.allowed_hosts)
        self._disallowed_hosts = _normal_hosts(options.disallowed_hosts)
        self._allowed_schemes = [scheme.lower() for scheme in options.allowed_schemes]
        self._disallowed_schemes = [scheme.lower() for scheme in options.disallowed_schemes]

    def check(
        self, uri: object, *, what: str = "web-download", resolve: bool = True, trusted: bool = False
    ) -> CheckedUri:
        """Pass ``uri`` or raise ``Invalid``, which names the rule.

        Whether a host does not exist or leads to an inner address reads alike, so that nobody can look around with it.
        Without ``resolve`` the host's addresses are left to a proxy. ``trusted``: the operator has named the place, as
        the service catalog does with its endpoints, so that it may be an inner one.
        """
        if not isinstance(uri, str) or not uri.isprintable() or " " in uri:
            raise _refusal(what, uri, "it is not a URI")
        try:
            uri = to_ascii(uri)
            parts = urlsplit(uri)
            port, host = parts.port, host_name(parts.hostname or "")
            if not _HOST.fullmatch(host) or (":" in host) is not ("[" in parts.netloc):
                raise ValueError("neither a name nor an address")
        except ValueError:
            raise _refusal(what, uri, "it is not a URI") from None
        scheme = parts.scheme.lower()
        number = port if port is not None else _DEFAULT_PORTS.get(scheme, 0)
        rule = self._broken_rule(parts, scheme, host, number, trusted)
        if rule is not None:
            raise _refusal(what, uri, rule)
        addresses = self._addresses(host, number, trusted) if resolve else []
        if resolve and not addresses:
            raise _refusal(
                what, uri, "its host has no address that may be reached (fetch.allowed_networks)", HostUnreachable
            )
        return CheckedUri(uri, host, number, tuple(addresses))

    def _broken_rule(self, parts: SplitResult, scheme: str, host: str, port: int, trusted: bool) -> str | None:
        allowed = list(_DEFAULT_PORTS) if trusted else self._allowed_schemes
        if not scheme or not _passes(scheme, allowed, self._disallowed_schemes):
            return "its scheme is not allowed (fetch.allowed_schemes)"
        if not host:
            return "it names no host"
        if "@" in parts.netloc:
            return "it holds credentials"
        if not (trusted or _passes(host, self._allowed_hosts, self._disallowed_hosts)):
            return "its host is not allowed (fetch.allowed_hosts)"
        if not port or not (trusted or _passes(port, self._options.allowed_ports, self._options.disallowed_ports)):
            return "its port is not allowed (fetch.allowed_ports)"
        return None

    def _addresses(self, host: str, port: int, trusted: bool) -> list[str]:
        """Return the host's addresses; none when one of them must not be reached, or it has none."""
        literal = _literal(host)
        if literal is not None:
            found = [literal] if str(literal) == host.lower() else []
        elif _looks_numeric(host):
            found = []  # 127.1, 0x7f000001 and their like, which some resolvers take for addresses
        else:
            found = _resolve(host, port)
        return [str(one) for one in found] if trusted or all(self._may_reach(one) for one in found) else []

    def _may_reach(self, address: Address) -> bool:
        if any(one in network for one in (address, *embedded(address)) for network in self._networks):
            return True
        return is_plainly_global(address)


def _refusal(what: str, uri: object, rule: str, kind: type[Invalid] = Invalid) -> Invalid:
    return kind(f"URI for {what} does not pass filtering: {without_secrets(str(uri))[:255]}: {rule}")


def _normal_hosts(names: Sequence[str]) -> list[str]:
    return [host_name(name.strip("[]")) for name in names]


def _passes(value: object, allowed: Sequence[object], disallowed: Sequence[object]) -> bool:
    return value in allowed if allowed else value not in disallowed


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _looks_numeric(host: str) -> bool:
    last = host.rstrip(".").rpartition(".")[2]
    return last.isdigit() or last.lower().startswith("0x")


def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    return [ipaddress.ip_address(text) for text in texts]
