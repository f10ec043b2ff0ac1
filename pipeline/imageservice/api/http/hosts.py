"""Decide by which host names the service is called.

A page on the web can have its own name resolve to this machine (DNS rebinding); its requests then come from a browser
here, and name that page's host. Where every caller may do everything such a request is refused; elsewhere the name is
nothing that others should be given as the service's.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import falcon

from pipeline.imageservice.access.options import NoIdentity
from pipeline.imageservice.configuration import Configuration
from pipeline.imageservice.errors import Misdirected

_WILDCARDS = ("", "0.0.0.0", "::", "*")  # noqa: S104 - compared with, not bound to


class Hosts:
    """The names of a service with these settings: those it listens on, and those the operator gives it."""

    def __init__(self, settings: Configuration) -> None:
        endpoint = settings.api.public_endpoint
        named = [*settings.api.hosts, *([urlsplit(endpoint).hostname or ""] if endpoint else [])]
        self._names = {_plain(name) for name in named}
        self._listens_on = _plain(settings.address[0])
        self._loopback = self._listens_on == "localhost" or _is_loopback(self._listens_on)
        self._everywhere = self._listens_on in _WILDCARDS
        self._strict = isinstance(settings.identity, NoIdentity)

    def check(self, req: falcon.Request) -> None:
        """Raise ``Misdirected`` for a request to a foreign name, where every caller may do everything."""
        if self._strict and not self.is_ours(req):
            raise Misdirected("This service is not called so; api.hosts names what else it may be called")

    def is_ours(self, req: falcon.Request) -> bool:
        """Return whether a request calls the service by one of its names. One that names none (HTTP/1.0) does."""
        sent = req.env.get("HTTP_HOST")
        if sent is None:
            return True
        try:
            host = _plain(urlsplit(f"//{sent}").hostname or "")
        except ValueError:
            return False
        if host in self._names or host == self._listens_on:
            return bool(host)
        if self._loopback:
            return host == "localhost" or _is_loopback(host)
        # All of the machine's addresses are listened on; its names nobody knows but the operator.
        return self._everywhere and (_is_address(host) or (bool(host) and not self._names))


def _plain(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_loopback
