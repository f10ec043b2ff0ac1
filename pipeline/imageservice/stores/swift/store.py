"""Store images as objects in Swift.

An object's address is ``swift+config://REFERENCE/CONTAINER/NAME``, as glance_store has it: the reference stands for an
account whose credentials are in the settings. Addresses of old with the account's log-in address
(``swift+https://USER:KEY@HOST/v3/CONTAINER/NAME``) are understood too; their credentials are passed over.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import swiftclient

from pipeline.imageservice.stores.base import (
    NAME,
    Capabilities,
    DriverContext,
    FoundObject,
    IncompleteObject,
    Reader,
    Space,
    Store,
    StoredObject,
    Writer,
    checked_attempt,
    checked_name,
)
from pipeline.imageservice.stores.errors import BadLocation, ObjectMissing, StoreUnavailable, WriteRefused
from pipeline.imageservice.stores.swift.connection import SwiftConnections
from pipeline.imageservice.stores.swift.errors import swift_errors
from pipeline.imageservice.stores.swift.io import SwiftObject, SwiftReader, SwiftWriter
from pipeline.imageservice.stores.swift.options import SwiftOptions

_SEGMENT = re.compile(r"(?P<name>.+)-(?P<attempt>[A-Za-z0-9]{16,64})\.(?:\d{5,}|m\d{4,})")
_THEIR_NAME = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(\.\d+)?-\d{5,}")
_THEIR_SEGMENT = re.compile(r"\d{5,}")
_CHUNK = 1 << 20


class SwiftStore(Store):
    """The images of one account."""

    type = "swift"
    schemes = ("swift+config", "swift", "swift+https", "swift+http")

    def __init__(self, options: SwiftOptions, context: DriverContext | None = None) -> None:
        super().__init__(options.id, description=options.description, weight=options.weight)
        self.options = options
        self._budget = (context or DriverContext()).budget
        self._access = SwiftConnections(options)
        self._made: set[str] = set()

    @property
    def capabilities(self) -> Capabilities:
        """Everything but holes and files."""
        return Capabilities(writable=not self.options.read_only)

    def properties(self) -> dict[str, object]:
        """Return them as the reference names them; sizes in MiB."""
        return {
            "container": self.options.container,
            "large_object_size": self.options.segment_size >> 20,
            "large_object_chunk_size": self.options.segment_size >> 20,
        }

    def check(self) -> None:
        """Check that the account can be used, and the container is there."""
        with swift_errors(self.id), self._access.connection() as connection:
            if self.options.containers_seed:
                connection.head_account()
                return
        try:
            with swift_errors(self.id), self._access.connection() as connection:
                connection.head_container(self.options.container)
        except ObjectMissing as missing:
            if not self.options.create_container or self.options.read_only:
                raise StoreUnavailable(f"store {self.id} has no container", detail=missing.detail) from None
            self._make_container(self.options.container)

    def writer(self, name: str, *, size: int | None, attempt: str) -> Writer:
        """See ``Store.writer``."""
        checked_name(name), checked_attempt(attempt)
        if self.options.read_only:
            raise WriteRefused(f"store {self.id} is read-only")
        location = self._location(name)
        if self.options.create_container and location.container not in self._made:
            self._make_container(location.container)
        return SwiftWriter(self.options, location, self._budget, self._stored, size, attempt)

    def reader(self, uri: str, *, offset: int = 0, length: int | None = None) -> Reader:
        """See ``Store.reader``."""
        location = self._parse(uri)
        if offset < 0 or (length is not None and length < 0):
            raise ValueError(f"not a range: {length} bytes from {offset}")
        if length == 0:
            return self._nothing(location, offset)
        end = "" if length is None else str(offset + length - 1)
        headers = {"Range": f"bytes={offset}-{end}"} if offset or length is not None else None
        connection = self._access.borrow()
        try:
            reader = self._open(location, connection, headers, length)
        except _NoSwiftRange:
            connection.close()
            self._access.give_back(connection)
            if length is not None:
                raise ValueError(f"{length} bytes from {offset} do not lie in the object") from None
            return self._nothing(location, offset)
        except BaseException:
            connection.close()
            self._access.give_back(connection)
            raise
        if length is not None and reader.length != length:
            reader.close()
            raise ValueError(f"{length} bytes from {offset} do not lie in the object")
        return reader

    def size(self, uri: str) -> int:
        """See ``Store.size``."""
        return int(self._parse(uri).head()["content-length"])

    def delete(self, uri: str) -> None:
        """See ``Store.delete``. The object goes first, so that what a failure leaves is found as unfinished."""
        location = self._parse(uri)
        parts = location.parts(location.head())
        location.remove([location.name, *parts])

    def find(self, name: str) -> StoredObject | None:
        """See ``Store.find``."""
        try:
            return self._stored(name, int(self._location(checked_name(name)).head()["content-length"]))
        except ObjectMissing:
            return None

    def validate(self, uri: str) -> None:
        """See ``Store.validate``."""
        self._parse(uri)

    def canonical(self, uri: str) -> str:
        """See ``Store.canonical``."""
        location = self._parse(uri)
        return self._uri(location.container, location.name)

    def identify(self, uri: str) -> str:
        """See ``Store.identify``."""
        place = self._parse(uri)
        return f"swift:{self._access.account}/{place.container}/{place.name}"

    def identities(self, name: str) -> tuple[str, ...]:
        """See ``Store.identities``."""
        return (f"swift:{self._access.account}/{self._container(checked_name(name))}/{name}",)

    def is_internal(self, uri: str) -> bool:
        """See ``Store.is_internal``: a segment, ours or glance_store's, or a manifest of some."""
        name = self._parse(uri).name
        return bool(_SEGMENT.fullmatch(name) or _THEIR_NAME.fullmatch(name))

    def objects(self) -> Iterator[FoundObject]:
        """See ``Store.objects``. A listing tells no size of a large object, so each of those is looked at."""
        for container in self._containers():
            base = ""
            for item in self._listing(container):
                name = item["name"]
                theirs = name.startswith(f"{base}-") and _THEIR_SEGMENT.fullmatch(name[len(base) + 1 :])
                if (base and theirs) or _SEGMENT.fullmatch(name) or not NAME.fullmatch(name):
                    continue
                base, size = name, item["bytes"]
                if size == 0 or "slo_etag" in item:
                    try:
                        size = int(SwiftObject(self._access, self.id, container, name).head()["content-length"])
                    except ObjectMissing:
                        continue
                yield FoundObject(name, StoredObject(self._uri(container, name), size), _when(item))

    def incomplete(self) -> Iterator[IncompleteObject]:
        """See ``Store.incomplete``: segments that no manifest joins. The key is their container."""
        for container in self._containers():
            segments = (
                (match["name"], match["attempt"], _when(item))
                for item in self._listing(container)
                if (match := _SEGMENT.fullmatch(item["name"]))
            )
            for (name, attempt), group in itertools.groupby(segments, key=lambda each: each[:2]):
                if SwiftObject(self._access, self.id, container, name).attempt() != attempt:
                    yield IncompleteObject(name, attempt, container, max(when for _, _, when in group))

    def discard(self, what: IncompleteObject) -> None:
        """See ``Store.discard``."""
        location = SwiftObject(self._access, self.id, what.key, what.name)
        if location.attempt() == what.attempt:
            return
        prefix = f"{checked_name(what.name)}-{checked_attempt(what.attempt)}."
        location.remove([item["name"] for item in self._listing(what.key, prefix)])

    def space(self) -> Space:
        """Return the account's quota, where it has one."""
        with swift_errors(self.id), self._access.connection() as connection:
            headers = connection.head_account()
        quota = headers.get("x-account-meta-quota-bytes")
        if quota is None:
            return Space()
        return Space(int(quota), max(0, int(quota) - int(headers["x-account-bytes-used"])))

    def close(self) -> None:
        """See ``Store.close``."""
        self._access.close()

    def _open(
        self,
        location: SwiftObject,
        connection: swiftclient.Connection,
        headers: dict[str, str] | None,
        length: int | None,
    ) -> SwiftReader:
        try:
            with swift_errors(self.id):
                answer, body = connection.get_object(
                    location.container, location.name, resp_chunk_size=_CHUNK, headers=headers
                )
        except StoreUnavailable as error:
            if headers and getattr(error.__cause__, "http_status", None) == 416:
                raise _NoSwiftRange from None
            raise
        return SwiftReader(location, connection, body, int(answer["content-length"]))

    def _nothing(self, location: SwiftObject, offset: int) -> Reader:
        """Return the reader of no bytes at ``offset``, which has to lie in the object or at its end."""
        size = int(location.head()["content-length"])
        if offset > size:
            raise ValueError(f"byte {offset} does not lie in an object of {size}")
        return SwiftReader(location, None, None, 0)

    def _make_container(self, container: str) -> None:
        with swift_errors(self.id, writing=True), self._access.connection() as connection:
            connection.put_container(container)
        self._made.add(container)

    def _containers(self) -> list[str]:
        if not self.options.containers_seed:
            return [self.options.container]
        with swift_errors(self.id), self._access.connection() as connection:
            _, found = connection.get_account(prefix=f"{self.options.container}_", full_listing=True)
        return [self.options.container, *(item["name"] for item in found)]

    def _listing(self, container: str, prefix: str = "") -> Iterator[dict[str, Any]]:
        """Yield what lies in a container, sorted by name. Nothing where there is no such container."""
        marker = ""
        while True:
            try:
                with swift_errors(self.id), self._access.connection() as connection:
                    _, page = connection.get_container(container, marker=marker, prefix=prefix)
            except ObjectMissing:
                return
            if not page:
                return
            yield from page
            marker = page[-1]["name"]

    def _location(self, name: str) -> SwiftObject:
        return SwiftObject(self._access, self.id, self._container(name), name)

    def _container(self, name: str) -> str:
        """Return the container of an object, which glance_store names by the beginning of the image's id."""
        seed = self.options.containers_seed
        if not seed:
            return self.options.container
        beginning = name.lower()[: seed + name[:seed].count("-")]
        return f"{self.options.container}_{beginning}"

    def _uri(self, container: str, name: str) -> str:
        return f"swift+config://{self.options.reference}/{container}/{name}"

    def _stored(self, name: str, size: int) -> StoredObject:
        return StoredObject(self._uri(self._container(name), name), size)

    def _parse(self, uri: str) -> SwiftObject:
        """Return the object an address means; it has to lie in this account, in one of the store's containers."""
        scheme, _, rest = uri.partition("://")
        account, _, path = rest.rpartition("@")[2].rpartition("/")[0].rpartition("/")
        container, name = path, rest.rpartition("/")[2]
        login = urlsplit(self.options.auth_url)
        ours = {"swift+config": self.options.reference}.get(scheme, login.netloc + login.path.rstrip("/"))
        mine = container == self.options.container or container.startswith(f"{self.options.container}_")
        if scheme not in self.schemes or account != ours or not mine or not NAME.fullmatch(name):
            raise BadLocation(f"not a location of store {self.id}", detail=f"{scheme}://…/{name}"[:500])
        return SwiftObject(self._access, self.id, container, name)


class _NoSwiftRange(Exception):
    """The object is shorter than the first byte asked for."""


def _when(item: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(item["last_modified"]).replace(tzinfo=UTC)
