"""The two ends of a Swift store: writing an object and reading one.

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

from pipeline.imageservice.stores.errors import ObjectExists, ObjectMissing, StoreDamaged, StoreError
from pipeline.imageservice.stores.pieces import Budget, Pieces
from pipeline.imageservice.stores.store import Reader, Stored, Writer
from pipeline.imageservice.stores.swift_access import SwiftAccess
from pipeline.imageservice.stores.swift_faults import swift_faults
from pipeline.imageservice.stores.swift_options import SwiftOptions

ATTEMPT = "x-object-meta-attempt"
_GROUP = 500
_SEND = 1 << 20  # bytes handed to the socket at a time


@dataclass(frozen=True)
class Place:
    """Where one object lies, and how its store is reached."""

    access: SwiftAccess
    store: str
    container: str
    name: str

    def head(self) -> dict[str, str]:
        """The object's headers. Raises ``ObjectMissing``."""
        with swift_faults(self.store), self.access.connection() as connection:
            headers: dict[str, str] = connection.head_object(self.container, self.name)
            return headers

    def attempt(self) -> str | None:
        """The attempt that has made the object, empty where it was none of ours; ``None``: there is no object."""
        try:
            return self.head().get(ATTEMPT, "")
        except ObjectMissing:
            return None

    def parts(self, headers: dict[str, str]) -> list[str]:
        """The segments of a large object, with the manifests among them."""
        if headers.get("x-static-large-object", "").lower() == "true":
            return self._listed(self.name)
        container, _, prefix = headers.get("x-object-manifest", "").partition("/")
        if container != self.container or not prefix:
            return []
        with swift_faults(self.store), self.access.connection() as connection:
            _, found = connection.get_container(container, prefix=prefix, full_listing=True)
            return [item["name"] for item in found]

    def _listed(self, name: str) -> list[str]:
        with swift_faults(self.store), self.access.connection() as connection:
            _, body = connection.get_object(self.container, name, query_string="multipart-manifest=get")
        names = []
        for item in json.loads(body):
            container, _, part = item["name"].lstrip("/").partition("/")
            if container == self.container:
                names += [*(self._listed(part) if item.get("sub_slo") else []), part]
        return names

    def remove(self, names: list[str]) -> None:
        """Delete objects of the container, those that are there."""
        for name in names:
            with swift_faults(self.store), self.access.connection() as connection, contextlib.suppress(_Gone):
                _delete(connection, self.container, name)


class SwiftWriter(Writer):
    """Writes the object at ``place``."""

    def __init__(
        self,
        options: SwiftOptions,
        place: Place,
        budget: Budget,
        stored: Callable[[str, int], Stored],
        size: int | None,
        attempt: str,
    ) -> None:
        self._options, self._place, self._stored, self._attempt = options, place, stored, attempt
        self._sent: set[str] = set()
        self._manifest: list[dict[str, Any]] | None = None
        self._whole: bytearray | None = None
        self._open = True
        self._pieces = Pieces(options.segment_size, options.segments_at_once, self._send, budget, size)

    def write(self, data: memoryview) -> None:
        """See ``Writer.write``."""
        self._pieces.add(data)

    def commit(self, *, replace: bool = False) -> Stored:
        """See ``Writer.commit``."""
        former = self._former(replace)
        if self._pieces.begun:
            if self._manifest is None:
                self._manifest = self._grouped(self._pieces.finish())
            self._put_manifest(self._place.name, self._manifest, self._headers(replace))
        else:
            self._whole = self._pieces.whole() if self._whole is None else self._whole
            self._put(self._place.name, self._whole, self._headers(replace))
        self._open = False
        self._pieces.close()
        self._place.remove(former)
        return self._stored(self._place.name, self._pieces.total)

    def abort(self) -> None:
        """See ``Writer.abort``."""
        self._pieces.close()
        if self._open:
            self._open = False
            with contextlib.suppress(StoreError):
                self._place.remove(sorted(self._sent))

    def undo(self) -> None:
        """See ``Writer.undo``."""
        if self._place.attempt() == self._attempt:
            self._place.remove([self._place.name, *sorted(self._sent)])

    def _former(self, replace: bool) -> list[str]:
        """The segments of the object that is to be replaced."""
        try:
            headers = self._place.head()
        except ObjectMissing:
            return []
        if not replace:
            raise ObjectExists(f"store {self._options.id} holds an image of this id already")
        return self._place.parts(headers)

    def _headers(self, replace: bool) -> dict[str, str]:
        condition = {} if replace else {"If-None-Match": "*"}
        return {ATTEMPT: self._attempt, "Content-Type": "application/octet-stream", **condition}

    def _send(self, number: int, piece: bytearray) -> dict[str, Any]:
        name = segment_name(self._place.name, self._attempt, f"{number:05d}")
        self._sent.add(name)
        etag = self._put(name, piece, {"Content-Type": "application/octet-stream"})
        return {"path": f"/{self._place.container}/{name}", "etag": etag, "size_bytes": len(piece)}

    def _put(self, name: str, data: bytearray, headers: dict[str, str]) -> str:
        place = self._place
        with swift_faults(place.store, writing=True), place.access.connection() as connection:
            etag: str = connection.put_object(
                place.container, name, _Contents(data) if data else None, len(data), headers=headers
            )
            return etag

    def _grouped(self, segments: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What the object's manifest says: the segments, or manifests of them where there are too many."""
        if len(segments) <= _GROUP:
            return segments
        groups = []
        for number, start in enumerate(range(0, len(segments), _GROUP), 1):
            name = segment_name(self._place.name, self._attempt, f"m{number:04d}")
            self._sent.add(name)
            part = segments[start : start + _GROUP]
            self._put_manifest(name, part, {})
            size = sum(item["size_bytes"] for item in part)
            groups.append({"path": f"/{self._place.container}/{name}", "size_bytes": size})
        return groups

    def _put_manifest(self, name: str, segments: list[dict[str, Any]], headers: dict[str, str]) -> None:
        place = self._place
        with swift_faults(place.store, writing=True), place.access.connection() as connection:
            connection.put_object(
                place.container,
                name,
                json.dumps(segments),
                headers=headers,
                query_string="multipart-manifest=put",
            )


class SwiftReader(Reader):
    """The body of one answer. Its connection is the reader's until it is closed."""

    def __init__(self, place: Place, connection: swiftclient.Connection | None, body: Any, length: int) -> None:
        self._place, self._connection, self._body = place, connection, body
        self.length = self._left = length

    def read(self, size: int) -> bytes:
        """See ``Reader.read``."""
        if self._left == 0:
            return b""
        with swift_faults(self._place.store):
            data: bytes = self._body.read(min(size, self._left))
        if not data and size > 0:
            raise StoreDamaged(f"store {self._place.store} holds less of this image than it should")
        self._left -= len(data)
        return data

    def close(self) -> None:
        """See ``Reader.close``."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._left:  # nobody wants to wait for the rest
                connection.close()
            self._place.access.give_back(connection)


class _Contents:
    """Bytes as a file for swiftclient, which can go back when it has to try again, and which copies nothing."""

    def __init__(self, data: bytearray) -> None:
        self._view, self._offset = memoryview(data), 0

    def read(self, size: int = -1) -> memoryview:
        """Some of the bytes: more than a socket's few KiB at a time, whatever ``size`` says."""
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
    """The name of a segment, or of a manifest of segments."""
    return f"{name}-{attempt}.{number}"


def _delete(connection: swiftclient.Connection, container: str, name: str) -> None:
    try:
        connection.delete_object(container, name)
    except swiftclient.ClientException as error:
        if error.http_status != 404:
            raise
        raise _Gone from None
