"""Tell whether two addresses are those of one S3 server."""

from __future__ import annotations

import contextlib
import ipaddress
from urllib.parse import urlsplit


def endpoint(address: str) -> str:
    """Return the server at an HTTP address, however that is written: both schemes' usual ports lead to the same one.

    Names that only a resolver knows to be the same are two; so are two ports.
    """
    parts = urlsplit(address)
    host = (parts.hostname or "").rstrip(".")
    with contextlib.suppress(UnicodeError):
        host = host.encode("idna").decode()
    with contextlib.suppress(ValueError):
        host = ipaddress.ip_address(host).compressed
    if host.endswith(".amazonaws.com"):
        return "amazonaws.com"  # where the name of a bucket is good for all regions
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in (None, 80, 443) else f"{host}:{parts.port}"
