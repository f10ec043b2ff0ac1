"""Find out whose request it is, by the connection and by what proxies say of it.

Anybody can send ``X-Forwarded-For``; only what a trusted proxy (``server.trusted_proxies``) added counts: the rightmost
address that is no such proxy is the client's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_RELAYED = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP")
_FOR = re.compile(r"""(?:^|;)\s*for\s*=\s*(?:"([^"]*)"|([^\s;"]*))""", re.IGNORECASE)
_EVERYWHERE = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True)
class ClientAddress:
    """Who made a request. ``address``: the client's, ``None`` where it is not known. ``peer``: the connection's.

    ``direct``: no proxy is in between, as far as can be seen. ``trusted``: that is known from a proxy that is believed.
    """

    address: IpAddress | None
    peer: IpAddress | None
    direct: bool
    trusted: bool = False

    @property
    def shown(self) -> str:
        """For logs: the client, or the connection's other end where a proxy does not tell."""
        address = self.address or self.peer
        return str(address) if address is not None else "local"


class ClientAddresses:
    """Finds the clients' addresses. ``trusted``: addresses and networks of proxies that are believed; ``*`` for all."""

    def __init__(self, trusted: Iterable[str]) -> None:
        texts = [each for text in trusted for each in (_EVERYWHERE if text == "*" else (text,))]
        self._trusted = [ipaddress.ip_network(text, strict=False) for text in texts]

    def of(self, environ: Mapping[str, Any]) -> ClientAddress:
        """Return whose request this is, by its WSGI environment."""
        peer = parsed(environ.get("REMOTE_ADDR") or "")
        relayed = any(name in _RELAYED or name.startswith("HTTP_X_FORWARDED") for name in environ)
        if not relayed or not self._is_trusted(peer):
            return ClientAddress(peer, peer, direct=not relayed)
        chains = [chain for chain in (_forwarded_for(environ), _forwarded(environ)) if chain]
        clients = {self._client(chain) for chain in chains}
        # Proxies that contradict each other, or do not tell, leave the client unknown.
        return ClientAddress(clients.pop() if len(clients) == 1 else None, peer, direct=False, trusted=True)

    def _client(self, chain: Sequence[str]) -> IpAddress | None:
        address = None
        for text in reversed(chain):
            address = parsed(text)
            if not self._is_trusted(address):
                break
        return address

    def _is_trusted(self, address: IpAddress | None) -> bool:
        return address is not None and is_in(address, self._trusted)


def is_in(address: IpAddress, networks: Iterable[IpNetwork]) -> bool:
    """Return whether an address lies in one of the networks."""
    return any(address in network for network in networks)


def parsed(text: str) -> IpAddress | None:
    """Return the address in ``text``, also with a port, brackets or a zone; an IPv4 one in IPv6's dress is IPv4."""
    text = text.strip().strip('"')
    match = re.fullmatch(r"\[([^\]]*)\](?::\d{1,5})?|([^:]*)(?::\d{1,5})?", text)
    plain = (match[1] if match[1] is not None else match[2]) if match else text
    try:
        address = ipaddress.ip_address(plain.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _forwarded_for(environ: Mapping[str, Any]) -> list[str]:
    text = environ.get("HTTP_X_FORWARDED_FOR")
    return [part.strip() for part in text.split(",")] if text else []


def _forwarded(environ: Mapping[str, Any]) -> list[str]:
    """Return the ``for`` of each element (RFC 7239); one without it names nobody."""
    elements = re.findall(r'(?:"[^"]*"|[^",])+', environ.get("HTTP_FORWARDED") or "")
    matches = [_FOR.search(element.strip()) for element in elements]
    return [(match[1] or match[2] or "") if match else "" for match in matches]
