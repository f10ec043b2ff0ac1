"""Tell which addresses are plainly global, by an own table: what Python says of them differs by version.

Everything in IANA's registries of special-purpose addresses is refused, whether or not it may be routed, and of IPv6
everything that is not allocated for global unicast. An address that holds another one is as good as that.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SPECIAL_4 = [
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private use
        "100.64.0.0/10",  # shared between a provider and its customers
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, with the metadata service
        "172.16.0.0/12",  # private use
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # multicast tunnels
        "192.88.99.0/24",  # relays of 6to4, withdrawn
        "192.168.0.0/16",  # private use
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and the broadcast address
    )
]
# Outside of it lie loopback, unique local, link- and site-local, multicast, segment routing (5f00::/16), and IPv4
# addresses in all their dresses: compatible (::/96), mapped, translated (::ffff:0:0:0/96, 64:ff9b:1::/48).
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_SPECIAL_6 = [
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks and others
        "2001:db8::/32",  # documentation
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
]
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")


def is_plainly_global(address: Address) -> bool:
    """Return whether an address leads to the public internet and nowhere else, whichever way it is routed."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL_4)
    if address in _NAT64:
        return is_plainly_global(_last_four(address))
    if address not in _GLOBAL_UNICAST or any(address in network for network in _SPECIAL_6):
        return False
    return address not in _SIX_TO_FOUR or is_plainly_global(_six_to_four(address))


def embedded(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """Yield the IPv4 address inside an IPv6 one, where a network may take it for that."""
    if not isinstance(address, ipaddress.IPv6Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _NAT64:
        yield _last_four(address)
    elif address in _SIX_TO_FOUR:
        yield _six_to_four(address)


def _last_four(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def _six_to_four(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address((int(address) >> 80) & 0xFFFFFFFF)
