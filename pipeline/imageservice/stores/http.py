"""Images on web servers: read, never written.

An object's address is its URL. Where it leads to is checked at every request and every redirect, and the connection
goes to the very address that was checked, so that no name can lead into the cloud's inner networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3

from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.stores.drivers import Surroundings
from pipeline.imageservice.stores.errors import (
    BadLocation,
    ObjectMissing,
    StoreDamaged,
    StoreUnavailable,
    WriteRefused,
)
from pipeline.imageservice.stores.http_options import HttpOptions
from pipeline.imageservice.stores.store import Capabilities, Reader, Store, Stored, Writer

_PORTS = {"http": 80, "https": 443}
_MOVED = {301, 302, 303, 307, 308}
_GONE = {404, 410}


class HttpStore(Store):
    """All the web, as far as the settings let the service reach it."""

    type = "http"
    schemes = ("http", "https")

    def __init__(self, options: HttpOptions, surroundings: Surroundings | None = None) -> None:
        super().__init__(options.id, description=options.description, weight=options.weight)
        self.options = options
        self._addresses = (surroundings or Surroundings()).addresses

    @property
    def capabilities(self) -> Capabilities:
        """Nothing can be written, nor found without its address."""
        return Capabilities(writable=False, listable=False)

    def properties(self) -> dict[str, object]:
        """Nothing that users need to know."""
        return {}

    def check(self) -> None:
        """There is no server to look at before an image is asked for."""

    def writer(self, name: str, *, size: int | None, attempt: str) -> Writer:
        """Refused."""
        raise WriteRefused(f"store {self.id} is read-only")

    def reader(self, uri: str, *, offset: int = 0, length: int | None = None) -> Reader:
        """See ``Store.reader``. A server that does no ranges is read from the beginning."""
        if offset < 0 or (length is not None and length < 0):
            raise ValueError(f"not a range: {length} bytes from {offset}")
        ranged = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self._request("GET", uri, ranged)
        try:
            if answer.status == 416:
                return self._beyond(uri, answer, offset, length)
            skip = 0 if answer.status == 206 else offset
            there = self._length(answer) - skip
            wanted = there if length is None else length
            if skip < 0 or there < 0 or wanted > there:
                raise ValueError(f"{length} bytes from {offset} do not lie in the object")
            return HttpReader(self.id, answer, wanted, skip=skip)
        except BaseException:
            answer.close()
            raise

    def size(self, uri: str) -> int:
        """See ``Store.size``."""
        answer = self._request("HEAD", uri, {})
        try:
            return self._length(answer)
        finally:
            answer.close()

    def delete(self, uri: str) -> None:
        """Refused."""
        raise WriteRefused(f"store {self.id} is read-only")

    def find(self, name: str) -> Stored | None:
        """Nothing is found by its name."""
        return None

    def validate(self, uri: str) -> None:
        """See ``Store.validate``."""
        self._parse(uri)

    def _beyond(self, uri: str, answer: urllib3.BaseHTTPResponse, offset: int, length: int | None) -> Reader:
        """The answer to a range that begins at the object's end or behind it."""
        answer.close()
        if offset > self.size(uri) or length:
            raise ValueError(f"byte {offset} does not lie in the object")
        return HttpReader(self.id, answer, 0)

    def _request(self, method: Literal["GET", "HEAD"], uri: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """The answer, of status 200, 206 or 416, whose body is still to be read."""
        for _ in range(self.options.redirects + 1):
            parts = self._parse(uri)
            with self._faults():
                answer = self._ask(method, parts, headers)
            if answer.status in (200, 206, 416):
                return answer
            answer.close()
            if answer.status in _GONE:
                raise ObjectMissing(f"store {self.id} does not hold this image", detail=f"{answer.status} {uri}")
            if answer.status not in _MOVED or "Location" not in answer.headers:
                raise StoreUnavailable(f"store {self.id} does not answer as it should", detail=f"{answer.status} {uri}")
            uri = urljoin(uri, answer.headers["Location"])
        raise StoreUnavailable(f"store {self.id} is led in circles", detail=uri)

    def _ask(self, method: str, parts: SplitResult, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        options = self.options
        host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
        address = self._checked(parts)
        timeout = urllib3.Timeout(connect=options.connect_timeout, read=options.read_timeout)
        if parts.scheme == "https":
            pool: urllib3.HTTPConnectionPool = urllib3.HTTPSConnectionPool(
                address,
                port,
                timeout=timeout,
                server_hostname=host,
                assert_hostname=host,
                ca_certs=str(options.ca_file) if options.ca_file else None,
                cert_reqs="CERT_REQUIRED",
            )
        else:
            pool = urllib3.HTTPConnectionPool(address, port, timeout=timeout)
        return pool.urlopen(
            method,
            parts._replace(scheme="", netloc="", fragment="").geturl() or "/",
            headers={
                "Host": parts.netloc,
                "User-Agent": options.user_agent,
                "Accept-Encoding": "identity",
                **headers,
            },
            redirect=False,
            retries=False,
            preload_content=False,
        )

    def _checked(self, parts: SplitResult) -> str:
        """An address to connect to, which passed the filter just now."""
        try:
            return self._addresses(parts._replace(fragment="").geturl())[0]
        except Invalid as error:
            raise StoreUnavailable(f"store {self.id} may not fetch from there", detail=error.message) from None

    def _length(self, answer: urllib3.BaseHTTPResponse) -> int:
        """Bytes of the body, which a server has to tell: else a broken transfer would look like a whole one."""
        length = answer.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise StoreUnavailable(f"store {self.id}: the server does not tell the image's length")
        return int(length)

    def _parse(self, uri: str) -> SplitResult:
        try:
            parts = urlsplit(uri)
            fine = parts.scheme in self.schemes and parts.hostname and "@" not in parts.netloc and parts.port != 0
        except ValueError:
            fine = None
        if not fine or not uri.isascii() or not uri.isprintable() or " " in uri:
            raise BadLocation(f"not a location of store {self.id}", detail=uri[:500])
        return parts

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise StoreUnavailable(f"store {self.id} does not answer", detail=f"{error}"[:500]) from error


class HttpReader(Reader):
    """The body of one answer, without its first ``skip`` bytes."""

    def __init__(self, store: str, answer: urllib3.BaseHTTPResponse, length: int, *, skip: int = 0) -> None:
        self._store, self._answer, self._skip = store, answer, skip
        self.length = self._left = length

    def read(self, size: int) -> bytes:
        """See ``Reader.read``."""
        while self._skip and self._left:
            self._skip -= len(self._some(min(self._skip, 1 << 20)))
        if self._left == 0 or size == 0:
            return b""
        data = self._some(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        """See ``Reader.close``."""
        self._answer.close()

    def _some(self, size: int) -> bytes:
        try:
            data = self._answer.read(size)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise StoreUnavailable(f"store {self._store} broke off while sending", detail=f"{error}"[:500]) from error
        if not data:
            raise StoreDamaged(f"store {self._store} holds less of this image than it should")
        return data
