"""Ask a web server for a file: at the address that was checked, by the right names, along checked redirects."""

from __future__ import annotations

import errno
import logging
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin, urlsplit

from urllib3.connection import HTTPConnection, ProxyConfig
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProxyError,
    SSLError,
)
from urllib3.exceptions import (
    TimeoutError as AnyTimeoutError,
)
from urllib3.util import parse_url

from pipeline.base.urls import to_ascii
from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.fetching.answer import Answer, headers_for
from pipeline.imageservice.fetching.errors import FetchBroken, FetchRefused, FetchStalled, FetchUnreachable
from pipeline.imageservice.fetching.ssrf_filter import CheckedUri, HostUnreachable
from pipeline.imageservice.fetching.wire import PlainConnection, TlsConnection, Wire

log = logging.getLogger("imageservice.fetch")

_MOVED = {301, 302, 303, 307, 308}
# Not the certificate's fault, nor the server's wish: the connection broke while it was being encrypted.
_BROKEN_TLS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


_NO_TUNNEL = "Tunnel connection failed: "
_TROUBLE = (HTTPError, HTTPException, OSError, ValueError)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class ClientOptions:
    """How servers are asked. Times in seconds.

    ``ca_file``: authorities to trust instead of the system's. ``proxy``: asks in our place; what it reaches is its own
    decision. ``downgrade``: a redirect may lead from https to http.
    """

    connect_seconds: float = 20.0
    idle_seconds: float = 60.0
    redirects: int = 5
    user_agent: str = "image-service"
    ca_file: Path | None = None
    proxy: str | None = None
    downgrade: bool = False


class Client:
    """Asks for files. ``check`` lets a URI pass, or raises ``Invalid``; it is told the number of redirects before it.

    ``what``: what it is done for, in messages.
    """

    def __init__(self, options: ClientOptions, check: Callable[[str, int], CheckedUri], what: str) -> None:
        self._options, self._check, self._what = options, check, what

    def ask(
        self,
        uri: str,
        waiting: Callable[[], None],
        *,
        method: Literal["GET", "HEAD"] = "GET",
        headers: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the answer behind all redirects, whatever its status.

        ``waiting`` raises what ends the work. ``headers`` go to every server on the way, ``secrets`` to the first only.
        Raises ``FetchBroken``, ``FetchRefused``, and ``Invalid`` for a redirect that must not be followed.
        """
        uris: tuple[str, ...] = ()
        given = {**(headers or {}), **(secrets or {})}
        for hop in range(self._options.redirects + 1):
            try:
                checked = self._check(uri, hop)
            except HostUnreachable as error:
                # Whether the name is unknown or leads inside reads alike, here too: both are asked again.
                raise FetchUnreachable(error.message) from None
            uris = (*uris, checked.uri)
            if len(uris) > 1:
                self._refuse_downgrade(*uris[-2:])
            answer = self._once(method, checked, given, waiting, uris)
            target = answer.headers.get("Location")
            if answer.status not in _MOVED:
                return answer
            answer.close()
            if target is None:
                raise FetchRefused(
                    f"The source answered with status {answer.status} and no place to go", status=answer.status
                )
            uri, given = _redirected(checked.uri, target), dict(headers or {})
        raise FetchRefused(f"The source redirects more than {self._options.redirects} times")

    def _refuse_downgrade(self, before: str, after: str) -> None:
        scheme = urlsplit(after).scheme.lower()
        if urlsplit(before).scheme.lower() == "https" and scheme != "https" and not self._options.downgrade:
            raise Invalid(f"URI for {self._what} does not pass filtering: a redirect leads from https to {scheme}")

    def _once(
        self,
        method: str,
        checked: CheckedUri,
        headers: Mapping[str, str],
        waiting: Callable[[], None],
        uris: tuple[str, ...],
    ) -> Answer:
        """One request, to the first of the checked addresses that takes a connection."""
        parts = urlsplit(checked.uri)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if self._options.proxy and parts.scheme.lower() == "http":
            target = f"http://{parts.netloc}{target}"
        connection, wire = self._connected(checked, waiting)
        try:
            connection.request(
                method,
                target,
                headers=headers_for(self._options.user_agent, parts.netloc, headers),
                preload_content=False,
                decode_content=False,
            )
            return Answer(connection.getresponse(), connection, wire, uris)
        except _TROUBLE as error:
            connection.close()
            raise _failure(error) from error
        except BaseException:
            connection.close()
            raise

    def _connected(self, checked: CheckedUri, waiting: Callable[[], None]) -> tuple[HTTPConnection, Wire]:
        secure = urlsplit(checked.uri).scheme.lower() == "https"
        failure: FetchBroken | None = None
        for address in checked.addresses if self._options.proxy is None else ("the proxy",):
            waiting()
            wire = Wire(self._options.idle_seconds, waiting)
            connection = self._connection(checked, address, secure, wire)
            try:
                connection.connect()
            except (NewConnectionError, ConnectTimeoutError) as error:
                connection.close()
                failure = _unconnected(error, proxy=self._options.proxy is not None)
                continue
            except _TROUBLE as error:
                connection.close()
                raise _failure(error) from error
            except BaseException:
                connection.close()
                raise
            log.info("fetching %s from %s", checked.host, address)
            return connection, wire
        raise failure or FetchBroken("The source cannot be connected to")

    def _connection(self, checked: CheckedUri, address: str, secure: bool, wire: Wire) -> HTTPConnection:
        """Return a connection to be made: to the address for the host's name, or to the proxy."""
        options = self._options
        proxy = parse_url(options.proxy) if options.proxy else None
        host, port = (
            (proxy.host or "", proxy.port or _PORTS[proxy.scheme or "http"]) if proxy else (address, checked.port)
        )
        if not secure and (proxy is None or proxy.scheme != "https"):
            return PlainConnection(host, port, timeout=options.connect_seconds, wire=wire)
        context = ssl.create_default_context(cafile=str(options.ca_file) if options.ca_file else None)
        connection = TlsConnection(
            host,
            port,
            timeout=options.connect_seconds,
            proxy=proxy,
            proxy_config=ProxyConfig(ssl.create_default_context(), False, None, None) if proxy else None,
            server_hostname=checked.host if secure else host,
            ssl_context=context,
            wire=wire,
        )
        if proxy and secure:
            # Before Python 3.12 a tunnel is asked for without the Host that RFC 9110 wants.
            name = f"[{checked.host}]" if ":" in checked.host else checked.host
            host_header = {"Host": f"{name}:{checked.port}"}
            connection.set_tunnel(checked.host, checked.port, host_header, scheme=proxy.scheme or "http")
        return connection


def _redirected(uri: str, target: str) -> str:
    """Where a ``Location`` leads: servers send them in UTF-8 and with spaces, although RFC 9110 wants neither."""
    data = target.strip().encode("latin-1", "replace")  # as it was on the wire
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    try:
        return to_ascii(urljoin(uri, text.replace("\\", "/") if text.startswith("\\") else text))
    except ValueError:
        raise FetchRefused("The source redirects to something that is no address") from None


def _unconnected(error: NewConnectionError | ConnectTimeoutError, *, proxy: bool) -> FetchBroken:
    what = "The proxy" if proxy else "The source"
    if isinstance(error, NewConnectionError):
        return FetchBroken(f"{what} cannot be connected to: {_reason(error)}")
    return FetchStalled(f"{what} cannot be connected to: it does not answer in time")


def _failure(error: BaseException) -> FetchBroken | FetchRefused:
    """Return what a failed request means. Raises nothing."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ProxyError) or str(cause).startswith(_NO_TUNNEL):
            return FetchBroken(f"The proxy refuses the connection: {_reason(error)}")
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return FetchRefused(f"The source's certificate is not accepted: {cause.verify_message}")
    if any(isinstance(cause, _BROKEN_TLS) for cause in causes):
        return FetchBroken("The source broke the connection off before it was encrypted")
    if any(isinstance(cause, SSLError | ssl.SSLError) for cause in causes):
        return FetchRefused("The source's certificate or encryption is not accepted: no TLS that both sides speak")
    if any(isinstance(cause, AnyTimeoutError | TimeoutError) for cause in causes):
        return FetchStalled("The source does not answer in time")
    if any(isinstance(cause, ConnectionError) for cause in causes):
        return FetchBroken(f"The source broke the connection off before it answered: {_reason(error)}")
    return FetchBroken("The source does not answer as a web server does")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what it came of; urllib3 keeps some in its errors' arguments only."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if any(each is other for other in seen):
            continue
        seen.append(each)
        yield each
        found = (each.__cause__, each.__context__, *each.args)
        waiting.extend(one for one in found if isinstance(one, BaseException))


def _reason(error: BaseException) -> str:
    """Why, in the system's own words."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno in errno.errorcode:
            return os.strerror(cause.errno).lower()
        if str(cause).startswith(_NO_TUNNEL):
            return f"it answered {str(cause).removeprefix(_NO_TUNNEL)[:3]}"
    return "no answer"
