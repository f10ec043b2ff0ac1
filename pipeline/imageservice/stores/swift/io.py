"""Write and read objects of a Swift store.

A small object is one PUT. A larger one is sent as segments, which a static large object then joins: the PUT of its
manifest is what makes it appear. Segments are named ``NAME-ATTEMPT.NUMBER``, so that no attempt can touch another's,
and begin with ``NAME-`` as glance_store's do. A manifest may name a thousand segments; of more, each ``_GROUP`` get a
manifest of their own first.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import swiftclient

from pipeline.base import json_text
from pipeline.imageservice.stores.base import Reader, StoredObject, Writer
from pipeline.imageservice.stores.budget import Budget
from pipeline.imageservice.stores.errors import ObjectExists, ObjectMissing, StoreDamaged, StoreError
from pipeline.imageservice.stores.multipart import MultipartUpload
from pipeline.imageservice.stores.swift.connection import SwiftConnections
from pipeline.imageservice.stores.swift.errors import swift_errors
from pipeline.imageservice.stores.swift.options import SwiftOptions

ATTEMPT = "x-object-meta-attempt"
_GROUP = 500
_SEND = 1 << 20  # bytes handed to the socket at a time


@dataclass(frozen=True)
class SwiftObject:
    """Where one object lies, and how its store is reached."""

    access: SwiftConnections
    store: str
    container: str
    name: str

    def head(self) -> dict[str, str]:
        """Return the object's headers. Raises ``ObjectMissing``."""
        with swift_errors(self.store), self.access.connection() as connection:
            headers: dict[str, str] = connection.head_object(self.container, self.name)
            return headers

    def attempt(self) -> str | None:
        """Return the attempt that has made the object, empty where it was none of ours; ``None``:
        there is no object.
        """
        try:
            return self.head().get(ATTEMPT, "")
        except ObjectMissing:
            return None

    def parts(self, headers: dict[str, str]) -> list[str]:
        """Return the segments of a large object, with the manifests among them."""
        if headers.get("x-static-large-object", "").lower() == "true":
            return self._listed(self.name)
        container, _, prefix = headers.get("x-object-manifest", "").partition("/")
        if container != self.container or not prefix:
            return []
        with swift_errors(self.store), self.access.connection() as connection:
            _, found = connection.get_container(container, prefix=prefix, full_listing=True)
            return [item["name"] for item in found]

    def _listed(self, name: str) -> list[str]:
        with swift_errors(self.store), self.access.connection() as connection:
            _, body = connection.get_object(self.container, name, query_string="multipart-manifest=get")
        names = []
        for item in json_text.loads(body):
            container, _, part = item["name"].lstrip("/").partition("/")
            if container == self.container:
                names += [*(self._listed(part) if item.get("sub_slo") else []), part]
        return names

    def remove(self, names: list[str]) -> None:
        """Delete objects of the container, those that are there."""
        for name in names:
            with swift_errors(self.store), self.access.connection() as connection, contextlib.suppress(_Gone):
                _delete(connection, self.container, name)


class SwiftWriter(Writer):
    """Writes the object at ``location``."""

    def __init__(
        self,
        options: SwiftOptions,
        location: SwiftObject,
        budget: Budget,
        stored: Callable[[str, int], StoredObject],
        size: int | None,
        attempt: str,
    ) -> None:
        self._options, self._location, self._stored, self._attempt = options, location, stored, attempt
        self._sent: set[str] = set()
        self._manifest: list[dict[str, Any]] | None = None
        self._whole: bytearray | None = None
        self._open = True
        self._pieces = MultipartUpload(options.segment_size, options.segments_at_once, self._send, budget, size)

    def write(self, data: memoryview) -> None:
        """See ``Writer.write``."""
        self._pieces.add(data)

    def commit(self, *, replace: bool = False) -> StoredObject:
        """See ``Writer.commit``."""
        former = self._former(replace)
        if self._pieces.begun:
            if self._manifest is None:
                self._manifest = self._grouped(self._pieces.finish())
            self._put_manifest(self._location.name, self._manifest, self._headers(replace))
        else:
            self._whole = self._pieces.whole() if self._whole is None else self._whole
            self._put(self._location.name, self._whole, self._headers(replace))
        self._open = False
        self._pieces.close()
        self._location.remove(former)
        return self._stored(self._location.name, self._pieces.total)

    def abort(self) -> None:
        """See ``Writer.abort``."""
        self._pieces.close()
        if self._open:
            self._open = False
            with contextlib.suppress(StoreError):
                self._location.remove(sorted(self._sent))

    def undo(self) -> None:
        """See ``Writer.undo``."""
        if self._location.attempt() == self._attempt:
            self._location.remove([self._location.name, *sorted(self._sent)])

    def _former(self, replace: bool) -> list[str]:
        """Return the segments of the object that is to be replaced."""
        try:
            headers = self._location.head()
        except ObjectMissing:
            return []
        if not replace:
            raise ObjectExists(f"store {self._options.id} holds an image of this id already")
        return self._location.parts(headers)

    def _headers(self, replace: bool) -> dict[str, str]:
        condition = {} if replace else {"If-None-Match": "*"}
        return {ATTEMPT: self._attempt, "Content-Type": "application/octet-stream", **condition}

    def _send(self, number: int, piece: bytearray) -> dict[str, Any]:
        name = segment_name(self._location.name, self._attempt, f"{number:05d}")
        self._sent.add(name)
        etag = self._put(name, piece, {"Content-Type": "application/octet-stream"})
        return {"path": f"/{self._location.container}/{name}", "etag": etag, "size_bytes": len(piece)}

    def _put(self, name: str, data: bytearray, headers: dict[str, str]) -> str:
        location = self._location
        with swift_errors(location.store, writing=True), location.access.connection() as connection:
            etag: str = connection.put_object(
                location.container, name, _Contents(data) if data else None, len(data), headers=headers
            )
            return etag

    def _grouped(self, segments: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return what the object's manifest says: the segments, or manifests of them where there are too many."""
        if len(segments) <= _GROUP:
            return segments
        groups = []
        for number, start in enumerate(range(0, len(segments), _GROUP), 1):
            name = segment_name(self._location.name, self._attempt, f"m{number:04d}")
            self._sent.add(name)
            part = segments[start : start + _GROUP]
            self._put_manifest(name, part, {})
            size = sum(item["size_bytes"] for item in part)
            groups.append({"path": f"/{self._location.container}/{name}", "size_bytes": size})
        return groups

    def _put_manifest(self, name: str, segments: list[dict[str, Any]], headers: dict[str, str]) -> None:
        location = self._location
        with swift_errors(location.store, writing=True), location.access.connection() as connection:
            connection.put_object(
                location.container,
                name,
                json.dumps(segments),
                headers=headers,
                query_string="multipart-manifest=put",
            )


class SwiftReader(Reader):
    """The body of one answer. Its connection is the reader's until it is closed."""

    def __init__(
        self, location: SwiftObject, connection: swiftclient.Connection | None, body: Any, length: int
    ) -> None:
        self._location, self._connection, self._body = location, connection, body
        self.length = self._left = length

    def read(self, size: int) -> bytes:
        """See ``Reader.read``."""
        if self._left == 0:
            return b""
        with swift_errors(self._location.store):
            data: bytes = self._body.read(min(size, self._left))
        if not data and size > 0:
            raise StoreDamaged(f"store {self._location.store} holds less of this image than it should")
        self._left -= len(data)
        return data

    def close(self) -> None:
        """See ``Reader.close``."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._left:  # nobody wants to wait for the rest
                connection.close()
            self._location.access.give_back(connection)


class _Contents:
    """Bytes as a file for swiftclient, which can go back when it has to try again, and which copies nothing."""

    def __init__(self, data: bytearray) -> None:
        self._view, self._offset = memoryview(data), 0

    def read(self, size: int = -1) -> memoryview:
        """Return some of the bytes: more than a socket's few KiB at a time, whatever ``size`` says."""
        data = self._view[self._offset : self._offset + _SEND]
        self._offset += len(data)
        return data

    def tell(self) -> int:
        """How many bytes have been read."""
        return self._offset

    def seek(self, offset: int) -> None:
        """Go to ``offset``."""
        self._offset = offset


class _Gone(Exception):
    """There was nothing to delete."""


def segment_name(name: str, attempt: str, number: str) -> str:
    """Return the name of a segment, or of a manifest of segments."""
    return f"{name}-{attempt}.{number}"


def _delete(connection: swiftclient.Connection, container: str, name: str) -> None:
    try:
        connection.delete_object(container, name)
    except swiftclient.ClientException as error:
        if error.http_status != 404:
            raise
        raise _Gone from None
