"""One request to a web server, on a connection to an address that was checked, and the head of its answer."""

from __future__ import annotations

import email.message
import http.client
import io
import logging
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from pipeline.imageservice.access.uri_filter import Checked
from pipeline.imageservice.data.control import Control
from pipeline.imageservice.data.wire import WireBody
from pipeline.imageservice.errors import Invalid, ServiceError, Unavailable
from pipeline.imageservice.importing.options import DownloadOptions

log = logging.getLogger("imageservice.import")

_LONGEST_HEADER = 64 << 10
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r\n")
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


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


class Body(WireBody):
    """The body of an answer."""

    def gone(self) -> SourceBroken:
        """See ``WireBody.gone``."""
        return SourceBroken("The source broke the connection off in the middle of the data")

    def stalled(self) -> SourceBroken:
        """See ``WireBody.stalled``."""
        return SourceBroken(f"The source has sent nothing for {self._idle:.0f} seconds")


@dataclass(frozen=True)
class Rest:
    """The part of a file to ask for: from ``offset`` on, as long as it is what ``validator`` names."""

    offset: int
    validator: str


@dataclass(frozen=True)
class Answer:
    """The header of an answer, and the body that follows it."""

    status: int
    headers: email.message.Message
    body: Body | None
    connection: socket.socket

    @property
    def length(self) -> int | None:
        """Bytes of the body, where they are announced."""
        text = self.headers.get("Content-Length")
        return int(text) if text is not None and text.isdecimal() else None

    @property
    def validator(self) -> str | None:
        """What names exactly this state of the file (RFC 9110, section 8.8), if the server can send parts of it."""
        tag = self.headers.get("ETag")
        if self.status == 200 and self.headers.get("Accept-Ranges", "").lower() != "bytes":
            return None
        return tag if tag is not None and tag.isprintable() and not tag.startswith("W/") else None

    def is_rest(self, wanted: Rest) -> bool:
        """Whether this is the part that was asked for, up to the file's end."""
        match = _RANGE.fullmatch(self.headers.get("Content-Range", ""))
        if self.status != 206 or match is None or int(match[1]) != wanted.offset:
            return False
        return match[3] == "*" or int(match[2]) + 1 == int(match[3])


class Requests:
    """Makes requests as the options say, until their time is over. ``what``: what it is done for, in messages."""

    def __init__(self, options: DownloadOptions, control: Control, what: str) -> None:
        self.what = what
        self._options, self._control = options, control
        self._until = time.monotonic() + options.total_seconds

    def check_time(self) -> None:
        """Raise what ends the work, or ``SourceRefused`` when it has taken too long."""
        self._control.check()
        if time.monotonic() > self._until:
            raise SourceRefused(f"The source took longer than {self._options.total_seconds:.0f} seconds")

    def ask(self, checked: Checked, headers: Mapping[str, str], rest: Rest | None) -> Answer:
        """Ask for a file, or the rest of it. Raises ``SourceBroken``, ``SourceRefused``, ``Invalid``."""
        self.check_time()
        connection = self._connect(checked)
        try:
            connection.sendall(self._request(checked, headers, rest))
            answer = self._read_header(connection)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise SourceBroken("The source does not answer as a web server does") from error
        except ServiceError:
            connection.close()
            raise
        return answer

    def _request(self, checked: Checked, headers: Mapping[str, str], rest: Rest | None) -> bytes:
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
        if rest is not None:
            lines |= {"Range": f"bytes={rest.offset}-", "If-Range": rest.validator}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        try:
            return f"GET {target} HTTP/1.1\r\n{text}\r\n".encode("ascii")
        except UnicodeEncodeError:
            raise Invalid(f"URI for {self.what} does not pass filtering: it is not ASCII") from None

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
                self.check_time()
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
                if self._read_header(connection, to_proxy=True).status != 200:
                    connection.close()
                    raise SourceBroken("The proxy refuses the connection")
        except OSError:
            raise SourceBroken("The proxy cannot be connected to") from None
        return connection

    def _read_header(self, connection: socket.socket, *, to_proxy: bool = False) -> Answer:
        connection.settimeout(self._options.idle_seconds)
        data = b""
        while b"\r\n\r\n" not in data:
            self.check_time()
            piece = connection.recv(16 << 10)
            data += piece
            if not piece or len(data) > _LONGEST_HEADER:
                raise SourceBroken("The source does not answer as a web server does")
        header, _, ahead = data.partition(b"\r\n\r\n")
        header += b"\r\n\r\n"
        match = _STATUS.match(header)
        if match is None:
            raise SourceBroken("The source does not answer as a web server does")
        status = int(match[1])
        if 100 <= status < 200:
            raise SourceBroken("The source answers with what was not asked for")
        headers = http.client.parse_headers(io.BytesIO(header[match.end() :]))
        # What follows a proxy's answer to CONNECT is the server's.
        body = self._body_of(headers, connection, ahead) if status in (200, 206) and not to_proxy else None
        return Answer(status, headers, body, connection)

    def _body_of(self, headers: email.message.Message, connection: socket.socket, ahead: bytes) -> Body:
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
        return Body(connection, _Ahead(ahead), announced, idle=self._options.idle_seconds)
