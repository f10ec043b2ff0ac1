"""From where the service fetches data on somebody's behalf: the one filter for every such path, and for every redirect.

A URI passes when scheme, host and port are allowed *and* every address its host resolves to is one the operator lets
the service reach: not itself, not the cloud's inner networks, not the metadata service. Whoever fetches connects only
to the addresses that were checked (``Checked.addresses``), so that a name cannot lead elsewhere a moment later.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, field_validator

from pipeline.imageservice.access.options import Options
from pipeline.imageservice.errors import Invalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_DEFAULT_PORTS = {"http": 80, "https": 443}
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # NAT64: an IPv4 address hides in the last 32 bits
_SIX_TO_FOUR = ipaddress.ip_network("2002::/16")


class FetchOptions(Options):
    """What users may have the service fetch. Of a pair, the allowed list wins where it is not empty."""

    allowed_schemes: list[str] = Field(["http", "https"], description="Schemes that may be fetched from.")
    disallowed_schemes: list[str] = Field([], description="Schemes that may not.")
    allowed_hosts: list[str] = Field([], description="Hosts that may be fetched from; empty for any.")
    disallowed_hosts: list[str] = Field([], description="Hosts that may not.")
    allowed_ports: list[int] = Field([80, 443], description="Ports that may be fetched from.")
    disallowed_ports: list[int] = Field([], description="Ports that may not.")
    allowed_networks: list[str] = Field(
        [], description="Networks (CIDR) that may be reached although they are private, such as that of a mirror."
    )

    @field_validator("allowed_networks")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for text in value:
            ipaddress.ip_network(text)
        return value


@dataclass(frozen=True, slots=True)
class Checked:
    """A URI that passed, and the addresses it may be fetched from."""

    uri: str
    host: str
    port: int
    addresses: tuple[str, ...]


class UriFilter:
    """The filter as configured."""

    def __init__(self, options: FetchOptions) -> None:
        self._options = options
        self._networks = [ipaddress.ip_network(text) for text in options.allowed_networks]

    def check(self, uri: object, *, what: str = "web-download", resolve: bool = True, trusted: bool = False) -> Checked:
        """Pass ``uri`` or raise ``Invalid``, which names the rule.

        Whether a host does not exist or leads to an inner address reads alike, so that nobody can look around with it.
        Without ``resolve`` the host's addresses are left to a proxy. ``trusted``: the operator has named the place, as
        the service catalog does with its endpoints, so that it may be an inner one.
        """
        if not isinstance(uri, str) or not uri.isprintable() or " " in uri:
            raise _refusal(what, uri, "it is not a URI")
        try:
            parts = urlsplit(uri)
            port = parts.port
        except ValueError:
            raise _refusal(what, uri, "it is not a URI") from None
        scheme, host = parts.scheme.lower(), parts.hostname or ""
        number = port if port is not None else _DEFAULT_PORTS.get(scheme, 0)
        rule = self._broken_rule(parts, scheme, host, number, trusted)
        if rule is not None:
            raise _refusal(what, uri, rule)
        addresses = self._addresses(host, number, trusted) if resolve else []
        if resolve and not addresses:
            raise _refusal(what, uri, "its host has no address that may be reached (fetch.allowed_networks)")
        return Checked(uri, host, number, tuple(addresses))

    def _broken_rule(self, parts: SplitResult, scheme: str, host: str, port: int, trusted: bool) -> str | None:
        options = FetchOptions(allowed_ports=[port]) if trusted else self._options
        if not scheme or not _passes(scheme, options.allowed_schemes, options.disallowed_schemes):
            return "its scheme is not allowed (fetch.allowed_schemes)"
        if not host:
            return "it names no host"
        if "@" in parts.netloc:
            return "it holds credentials"
        if not _passes(host, [one.lower() for one in options.allowed_hosts], options.disallowed_hosts):
            return "its host is not allowed (fetch.allowed_hosts)"
        if not port or not _passes(port, options.allowed_ports, options.disallowed_ports):
            return "its port is not allowed (fetch.allowed_ports)"
        return None

    def _addresses(self, host: str, port: int, trusted: bool) -> list[str]:
        """The host's addresses; none when one of them must not be reached, or it has none."""
        literal = _literal(host)
        if literal is not None:
            found = [literal] if str(literal) == host.lower() else []
        elif _looks_numeric(host):
            found = []  # 127.1, 0x7f000001 and their like, which some resolvers take for addresses
        else:
            found = _resolve(host, port)
        return [str(one) for one in found] if trusted or all(self._may_reach(one) for one in found) else []

    def _may_reach(self, address: Address) -> bool:
        inner = _inner(address)
        if any(address in network or inner in network for network in self._networks):
            return True
        return all(one.is_global and not one.is_multicast for one in (address, inner))


def _refusal(what: str, uri: object, rule: str) -> Invalid:
    return Invalid(f"URI for {what} does not pass filtering: {str(uri)[:255]}: {rule}")


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


def _inner(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one, where there is one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _TRANSLATED:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address in _SIX_TO_FOUR:
            return ipaddress.IPv4Address((int(address) >> 80) & 0xFFFFFFFF)
    return address
