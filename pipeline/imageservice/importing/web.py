"""Fetching data from the web on a user's behalf, where the user must not be able to reach anything else by it.

Every URI, also each one a server redirects to, passes the filter, and the connection goes to the very address that was
checked. What is received counts, not what is announced: sizes, times and rates are bounded while it comes. A body that
ends early is a failure; where the server vouches that its file is still the same, the fetch goes on from there.
"""

from __future__ import annotations

import email.message
import http.client
import io
import logging
import re
import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from pipeline.imageservice.access.uri_filter import Checked, UriFilter
from pipeline.imageservice.data.control import Control
from pipeline.imageservice.data.wire import WireBody
from pipeline.imageservice.errors import Invalid, ServiceError, Unavailable
from pipeline.imageservice.importing.options import DownloadOptions

log = logging.getLogger("imageservice.import")

_LONGEST_HEADER = 64 << 10
_MOVED = {301, 302, 303, 307, 308}
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r\n")


class SourceBroken(Unavailable):
    """The server that data is fetched from broke off, or does not answer; going on later may help."""


class SourceRefused(ServiceError):
    """The server that data is fetched from answers, but not with the data."""


class _Ahead:
    """What came behind a header."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take_buffered(self) -> bytes:
        data, self._data = self._data, b""
        return data

    def unread(self, data: bytes) -> None:
        self._data = data + self._data


class _Body(WireBody):
    def gone(self) -> SourceBroken:
        return SourceBroken("The source broke the connection off in the middle of the data")

    def stalled(self) -> SourceBroken:
        return SourceBroken(f"The source has sent nothing for {self._idle:.0f} seconds")


@dataclass(frozen=True)
class _Answer:
    """The header of an answer, and the body that follows it."""

    status: int
    headers: email.message.Message
    body: _Body | None
    connection: socket.socket

    @property
    def length(self) -> int | None:
        text = self.headers.get("Content-Length")
        return int(text) if text is not None and text.isdecimal() else None

    @property
    def validator(self) -> str | None:
        """What names exactly this state of the file (RFC 9110, section 8.8), if the server can send parts of it."""
        tag = self.headers.get("ETag")
        if self.headers.get("Accept-Ranges", "").lower() != "bytes":
            return None
        return tag if tag is not None and not tag.startswith("W/") else None


class WebSource:
    """The data at a URI, as a source for a transfer. ``close`` it in the end.

    Made before the first byte is wanted: ``size`` is what the server announces. ``headers`` go to the first host only.
    Raises ``Invalid`` when the filter refuses the URI or a redirect, ``SourceRefused``, ``SourceBroken``.
    """

    def __init__(
        self,
        uri: str,
        uri_filter: UriFilter,
        options: DownloadOptions,
        control: Control,
        *,
        what: str = "web-download",
        headers: dict[str, str] | None = None,
    ) -> None:
        self._filter, self._options, self._what = uri_filter, options, what
        self._headers = headers or {}
        self._control = control
        self._until = time.monotonic() + options.total_seconds
        self._received = 0
        self._begun = time.monotonic()
        self._uri = uri
        self._answer = self._get(0, None)
        self.size = self._answer.length
        self._validator = self._answer.validator
        self._failures = 0  # in a row, without a byte between them

    @property
    def ended(self) -> bool:
        """Whether everything has come."""
        return self._answer.body is not None and self._answer.body.ended

    def readinto(self, view: memoryview, control: Control) -> int:
        """See ``Source.readinto``."""
        while True:
            self._check_time()
            try:
                count = self._body.readinto(view, control)
            except SourceBroken as error:
                self._go_on(error, control)
                continue
            self._received += count
            self._failures = 0
            self._slow_down(control)
            return count

    def close(self) -> None:
        """Let go of the connection."""
        self._answer.connection.close()

    @property
    def _body(self) -> _Body:
        assert self._answer.body is not None  # noqa: S101 - ``_get`` returns no other answers
        return self._answer.body

    def _go_on(self, error: SourceBroken, control: Control) -> None:
        """Connect again and ask for the rest. Raises ``error`` when that can't be had."""
        self.close()
        if self._validator is None:
            raise error
        while self._failures < self._options.attempts - 1:
            self._failures += 1
            control.wait(min(30.0, 0.25 * 2**self._failures))
            try:
                answer = self._get(self._received, self._validator)
            except (SourceBroken, SourceRefused) as again:
                log.info("fetching goes on after a failure: %s", again.message)
                continue
            expected = f"bytes {self._received}-"
            if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(expected):
                answer.connection.close()
                raise SourceBroken("The source broke off, and has other data by now")
            self._answer = answer
            return
        raise error

    def _get(self, offset: int, validator: str | None) -> _Answer:
        """An answer with data, after as many redirects as are allowed."""
        uri, secure = self._uri, False
        for hop in range(self._options.redirects + 1):
            checked = self._filter.check(uri, what=self._what, resolve=self._options.proxy is None)
            scheme = urlsplit(uri).scheme.lower()
            if secure and scheme != "https":
                raise Invalid(f"URI for {self._what} does not pass filtering: a redirect leads from https to {scheme}")
            secure = scheme == "https"
            answer = self._ask(checked, self._headers if hop == 0 else {}, offset, validator)
            if answer.status in (200, 206):
                return answer
            answer.connection.close()
            target = answer.headers.get("Location")
            if answer.status not in _MOVED or target is None:
                raise SourceRefused(f"The source answered with status {answer.status}")
            uri = urljoin(uri, target)
        raise SourceRefused(f"The source redirects more than {self._options.redirects} times")

    def _ask(self, checked: Checked, headers: dict[str, str], offset: int, validator: str | None) -> _Answer:
        self._check_time()
        connection = self._connect(checked)
        try:
            connection.sendall(self._request(checked, headers, offset, validator))
            answer = self._read_header(connection)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise SourceBroken("The source does not answer as a web server does") from error
        except ServiceError:
            connection.close()
            raise
        return answer

    def _request(self, checked: Checked, headers: dict[str, str], offset: int, validator: str | None) -> bytes:
        parts = urlsplit(checked.uri)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if self._options.proxy is not None and parts.scheme.lower() == "http":
            target = f"http://{parts.netloc}{target}"
        lines = {
            "Host": parts.netloc,
            "User-Agent": self._options.user_agent,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
            **headers,
        }
        if offset:
            lines |= {"Range": f"bytes={offset}-", "If-Range": validator or ""}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        try:
            return f"GET {target} HTTP/1.1\r\n{text}\r\n".encode("ascii")
        except UnicodeEncodeError:
            raise Invalid(f"URI for {self._what} does not pass filtering: it is not ASCII") from None

    def _connect(self, checked: Checked) -> socket.socket:
        """A connection to one of the checked addresses, encrypted where the URI says so."""
        secure = urlsplit(checked.uri).scheme.lower() == "https"
        connection = self._to_proxy(checked, secure) if self._options.proxy else self._to_address(checked)
        if not secure:
            return connection
        context = ssl.create_default_context(cafile=str(self._options.ca_file) if self._options.ca_file else None)
        try:
            return context.wrap_socket(connection, server_hostname=checked.host)
        except (OSError, ValueError) as error:
            connection.close()
            reason = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else "no TLS"
            raise SourceRefused(f"The source's certificate or encryption is not accepted: {reason}") from None

    def _to_address(self, checked: Checked) -> socket.socket:
        for address in checked.addresses:
            try:
                connection = socket.create_connection((address, checked.port), timeout=self._options.connect_seconds)
            except OSError:
                self._check_time()
                continue
            log.info("fetching %s from %s", checked.host, address)
            return connection
        raise SourceBroken("The source cannot be connected to")

    def _to_proxy(self, checked: Checked, secure: bool) -> socket.socket:
        place = urlsplit(self._options.proxy or "")
        try:
            connection = socket.create_connection(
                (place.hostname, place.port or 80), timeout=self._options.connect_seconds
            )
            if secure:
                name = f"[{checked.host}]" if ":" in checked.host else checked.host
                wanted = f"{name}:{checked.port}"
                connection.sendall(f"CONNECT {wanted} HTTP/1.1\r\nHost: {wanted}\r\n\r\n".encode())
                if self._read_header(connection).status != 200:
                    connection.close()
                    raise SourceBroken("The proxy refuses the connection")
        except OSError:
            raise SourceBroken("The proxy cannot be connected to") from None
        return connection

    def _read_header(self, connection: socket.socket) -> _Answer:
        connection.settimeout(self._options.idle_seconds)
        data = b""
        while b"\r\n\r\n" not in data:
            self._check_time()
            piece = connection.recv(16 << 10)
            data += piece
            if not piece or len(data) > _LONGEST_HEADER:
                raise SourceBroken("The source does not answer as a web server does")
        header, _, rest = data.partition(b"\r\n\r\n")
        header += b"\r\n\r\n"
        match = _STATUS.match(header)
        if match is None:
            raise SourceBroken("The source does not answer as a web server does")
        status = int(match[1])
        if 100 <= status < 200:
            raise SourceBroken("The source answers with what was not asked for")
        headers = http.client.parse_headers(io.BytesIO(header[match.end() :]))
        body = self._body_of(headers, connection, rest) if status in (200, 206) else None
        return _Answer(status, headers, body, connection)

    def _body_of(self, headers: email.message.Message, connection: socket.socket, rest: bytes) -> _Body | None:
        length, coding = headers.get("Content-Length"), headers.get("Transfer-Encoding", "").strip().lower()
        if headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise SourceRefused("The source sends its data in an encoding that was not asked for")
        if coding == "chunked":
            announced = None
        elif not coding and length is not None and length.isdecimal():
            announced = int(length)
        else:
            # An end that is nothing but the connection's end cannot be told from a broken connection.
            raise SourceRefused("The source does not say how long its data is")
        return _Body(connection, _Ahead(rest), announced, idle=self._options.idle_seconds)

    def _check_time(self) -> None:
        self._control.check()
        if time.monotonic() > self._until:
            raise SourceRefused(f"The source took longer than {self._options.total_seconds:.0f} seconds")

    def _slow_down(self, control: Control) -> None:
        if self._options.rate is None:
            return
        early = self._received / self._options.rate - (time.monotonic() - self._begun)
        if early > 0:
            control.wait(early)
