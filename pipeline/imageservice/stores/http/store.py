"""Read images from web servers, and never write there.

An object's address is its URL. Where it leads to is checked at every request and every redirect, and the connection
goes to the very address that was checked, so that no name can lead into the cloud's inner networks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from pipeline.base.retry import RetryPolicy
from pipeline.base.urls import without_secrets
from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.fetching.answer import FilePart
from pipeline.imageservice.fetching.attempts import Attempts
from pipeline.imageservice.fetching.client import Client, ClientOptions
from pipeline.imageservice.fetching.download import HttpDownload
from pipeline.imageservice.fetching.errors import FetchBroken, FetchRefused, FetchUnreachable, StartAnew
from pipeline.imageservice.stores.base import Capabilities, DriverContext, Reader, Store, StoredObject, Writer
from pipeline.imageservice.stores.errors import (
    BadLocation,
    ObjectMissing,
    StoreDamaged,
    StoreUnavailable,
    WriteRefused,
)
from pipeline.imageservice.stores.http.options import HttpOptions

_GONE = {404, 410}


class HttpStore(Store):
    """All the web, as far as the settings let the service reach it."""

    type = "http"
    schemes = ("http", "https")

    def __init__(self, options: HttpOptions, context: DriverContext | None = None) -> None:
        super().__init__(options.id, description=options.description, weight=options.weight)
        self.options = options
        check = (context or DriverContext()).check_uri
        client = ClientOptions(
            connect_seconds=options.connect_timeout,
            idle_seconds=options.read_timeout,
            redirects=options.redirects,
            user_agent=options.user_agent,
            ca_file=options.ca_file,
            downgrade=True,
        )
        self._client = Client(client, lambda uri, _: check(uri), "location")

    @property
    def capabilities(self) -> Capabilities:
        """Nothing can be written, nor found without its address."""
        return Capabilities(writable=False, listable=False, deletes=False)

    def properties(self) -> dict[str, object]:
        """Return none: there is nothing that users need to know."""
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
        self._require_own(uri)
        with self._errors():
            try:
                part = FilePart(offset) if offset else None
                download = HttpDownload(self._client, uri, self._attempts(), part=part)
            except FetchRefused as refused:
                if refused.status != 416 or not offset:
                    raise
                return self._beyond(uri, offset, length)
        try:
            if download.size is None:
                raise StoreUnavailable(f"store {self.id}: the server does not tell the image's length")
            skip = offset - download.begin
            left = download.size - skip
            count = left if length is None else length
            if left < 0 or count > left:
                raise ValueError(f"{length} bytes from {offset} do not lie in the object")
            return HttpReader(self.id, download, count, skip=skip)
        except BaseException:
            download.close()
            raise

    def size(self, uri: str) -> int:
        """See ``Store.size``. Where a server refuses HEAD, as for URLs signed for GET, the first byte is asked for."""
        self._require_own(uri)
        # Who waits for this is a request of its own: it must not last for as many time limits as there are attempts.
        attempts = self._attempts(self.options.connect_timeout + self.options.read_timeout)
        with self._errors():
            while True:
                try:
                    return self._asked_size(uri, attempts)
                except FetchBroken as error:
                    attempts.failed(error)

    def _asked_size(self, uri: str, attempts: Attempts) -> int:
        head = self._client.ask(uri, attempts.check, method="HEAD")
        head.close()
        if head.status == 200 and head.length is not None:
            return head.length
        answer = self._client.ask(uri, attempts.check, headers={"Range": "bytes=0-0"})
        answer.close()
        if answer.status == 416 and answer.total == 0:
            return 0
        answer.require_data()
        if answer.total is None:
            raise StoreUnavailable(f"store {self.id}: the server does not tell the image's length")
        return answer.total

    def delete(self, uri: str) -> None:
        """Refused."""
        raise WriteRefused(f"store {self.id} is read-only")

    def find(self, name: str) -> StoredObject | None:
        """Return ``None``: nothing is found by its name."""
        return None

    def validate(self, uri: str) -> None:
        """See ``Store.validate``."""
        self._require_own(uri)

    def identify(self, uri: str) -> str:
        """See ``Store.identify``. Nothing here is anybody's, so any address will do."""
        self._require_own(uri)
        return uri

    def identities(self, name: str) -> tuple[str, ...]:
        """Return none: nothing is written here."""
        return ()

    def _beyond(self, uri: str, offset: int, length: int | None) -> Reader:
        """Return what a range holds that begins at the object's end or behind it."""
        if offset > self.size(uri) or length:
            raise ValueError(f"byte {offset} does not lie in the object")
        return _NothingReader()

    def _attempts(self, seconds: float | None = None) -> Attempts:
        policy = RetryPolicy(attempts=self.options.attempts, first=0.25, heed=5.0)
        return Attempts(policy, _Nobody(), seconds=seconds, patient=False)

    def _require_own(self, uri: str) -> None:
        try:
            parts = urlsplit(uri)
            fine = parts.scheme in self.schemes and parts.hostname and "@" not in parts.netloc and parts.port != 0
        except ValueError:
            fine = None
        if not fine or not uri.isascii() or not uri.isprintable() or " " in uri:
            raise BadLocation(f"not a location of store {self.id}", detail=without_secrets(uri)[:500])

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (FetchUnreachable, Invalid) as error:
            raise StoreUnavailable(f"store {self.id} may not fetch from there", detail=error.message) from None
        except FetchBroken as error:
            raise StoreUnavailable(f"store {self.id} does not answer", detail=error.message) from error
        except FetchRefused as error:
            if error.status in _GONE:
                raise ObjectMissing(f"store {self.id} does not hold this image", detail=error.message) from None
            raise StoreUnavailable(f"store {self.id}: {error.message}") from None


class _Nobody:
    """Nobody can end what a store does before its time."""

    def check(self) -> None:
        """Go on."""

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


class HttpReader(Reader):
    """The bytes of a download, without the first ``skip`` of them."""

    def __init__(self, store: str, download: HttpDownload, length: int, *, skip: int = 0) -> None:
        self._store, self._download, self._skip = store, download, skip
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
        self._download.close()

    def _some(self, size: int) -> bytes:
        room = bytearray(size)
        try:
            count = self._download.readinto(memoryview(room))
        except StartAnew as error:
            # The caller has used what came so far, so that there is no beginning anew.
            text = f"store {self._store} broke off while sending"
            raise StoreUnavailable(text, detail=error.message) from error
        except (FetchBroken, FetchRefused, Invalid) as error:
            text = f"store {self._store} broke off while sending, and does not go on"
            raise StoreUnavailable(text, detail=error.message) from error
        if not count:
            raise StoreDamaged(f"store {self._store} holds less of this image than it should")
        return bytes(room[:count])


class _NothingReader(Reader):
    """The empty rest behind an object's last byte."""

    length = 0

    def read(self, size: int) -> bytes:
        """See ``Reader.read``."""
        return b""

    def close(self) -> None:
        """See ``Reader.close``."""
