"""Write and read images of a Ceph store.

While it is written an image is called ``.partial.ATTEMPT.NAME``. At the end it gets its snapshot, which is protected so
that volumes can be cloned of it, and then its name.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from typing import Any

import rbd

from pipeline.imageservice.stores.base import Reader, StoredObject, Writer
from pipeline.imageservice.stores.budget import Budget, reserve
from pipeline.imageservice.stores.errors import ObjectExists, ObjectMissing, StoreDamaged, StoreError
from pipeline.imageservice.stores.file.holes import runs
from pipeline.imageservice.stores.rbd.cluster import RbdCluster, RbdConnection
from pipeline.imageservice.stores.rbd.errors import failure, rbd_errors
from pipeline.imageservice.stores.rbd.images import SNAPSHOT, address, made_by, mark, partial_name, remove
from pipeline.imageservice.stores.rbd.options import RbdOptions

_PIECE = 4 << 20  # bytes of one write
_FIRST_GROWTH, _MOST_GROWTH = 64 << 20, 8 << 30


class RbdWriter(Writer):
    """Writes the image ``name``."""

    def __init__(
        self, options: RbdOptions, cluster: RbdCluster, budget: Budget, name: str, size: int | None, attempt: str
    ) -> None:
        self._options, self._cluster, self._name, self._attempt = options, cluster, name, attempt
        self._partial = partial_name(attempt, name)
        self._offset = 0
        self._pending: list[bytes] = []
        self._pending_at = self._pending_size = 0
        self._growth = _FIRST_GROWTH
        self._sealed = self._ended = False
        self._flights = _WritesInFlight(options)
        self._grants = contextlib.ExitStack()
        least = _PIECE if size is None else max(1, min(size, _PIECE))
        self._grants.enter_context(reserve(budget, least * (options.writes_at_once + 1)))
        try:
            self._connection = cluster.borrow()
            try:
                with rbd_errors(options.id, writing=True):
                    self._image = self._create(size or 0)
            except BaseException:
                cluster.give_back(self._connection)
                raise
        except BaseException:
            self._grants.close()
            raise

    def write(self, data: memoryview) -> None:
        """See ``Writer.write``."""
        with rbd_errors(self._options.id, writing=True):
            for start, end in runs(data) if self._options.holes else [(0, len(data))]:
                for at in range(start, end, _PIECE):
                    self._append(self._offset + at, bytes(data[at : min(end, at + _PIECE)]))
            self._offset += len(data)

    def hole(self, length: int) -> None:
        """See ``Writer.hole``."""
        if self._options.holes:
            self._offset += length
        else:
            super().hole(length)

    def commit(self, *, replace: bool = False) -> StoredObject:
        """See ``Writer.commit``. Replacing is two steps here: the former image goes, then this one gets its name."""
        pool, store = self._connection.pool, self._options.id
        with rbd_errors(store, writing=True):
            self._seal()
            if replace:
                with contextlib.suppress(rbd.ImageNotFound):
                    remove(pool, self._name)
            try:
                rbd.RBD().rename(pool, self._partial, self._name)
            except rbd.ImageExists:
                raise ObjectExists(f"store {store} holds an image of this id already") from None
        self._end()
        return StoredObject(address(self._connection.fsid, self._options.pool, self._name), self._offset)

    def abort(self) -> None:
        """See ``Writer.abort``."""
        if self._ended:
            return
        broken = False
        for step in (self._flights.drain, self._image.close, lambda: remove(self._connection.pool, self._partial)):
            try:
                with rbd_errors(self._options.id):
                    step()
            except StoreError:
                # Closing an image says nothing of a lock that could not be given back.
                broken = True
        self._end(broken=broken)

    def undo(self) -> None:
        """See ``Writer.undo``."""
        with (
            self._cluster.connection() as connection,
            contextlib.suppress(ObjectMissing),
            rbd_errors(self._options.id),
        ):
            if made_by(connection.pool, self._name) == self._attempt:
                remove(connection.pool, self._name)

    def _end(self, *, broken: bool = False) -> None:
        self._ended = True
        self._cluster.give_back(self._connection, broken=broken)
        self._grants.close()

    def _create(self, size: int) -> Any:
        pool = self._connection.pool
        order = self._options.object_size.bit_length() - 1
        features = self._connection.features or rbd.RBD_FEATURE_LAYERING
        rbd.RBD().create(pool, self._partial, size, order, old_format=False, features=features)
        self._room = size
        return rbd.Image(pool, self._partial)

    def _append(self, at: int, data: bytes) -> None:
        """Collect adjacent data until it is worth a write."""
        adjacent = self._pending_at + self._pending_size == at
        if self._pending and (not adjacent or self._pending_size + len(data) > _PIECE):
            self._flush()
        if not self._pending:
            self._pending_at = at
        self._pending.append(data)
        self._pending_size += len(data)

    def _flush(self) -> None:
        if not self._pending:
            return
        end = self._pending_at + self._pending_size
        if end > self._room:
            self._resize(max(end, self._room + self._growth))
            self._growth = min(2 * self._growth, _MOST_GROWTH)
        data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self._pending, self._pending_size = [], 0
        self._flights.start(self._image, data, self._pending_at)

    def _resize(self, size: int) -> None:
        self._image.resize(size)
        self._room = size

    def _seal(self) -> None:
        """Make the image what it is to stay."""
        if self._sealed:
            return
        self._flush()
        self._flights.drain()
        if self._room != self._offset:
            self._resize(self._offset)
        mark(self._image, self._attempt)
        self._image.create_snap(SNAPSHOT)
        self._image.protect_snap(SNAPSHOT)
        self._image.close()
        self._sealed = True


class _WritesInFlight:
    """Writes on their way, a limited number of them."""

    def __init__(self, options: RbdOptions) -> None:
        self._store, self._limit = options.id, options.writes_at_once
        self._changed = threading.Condition()
        self._count = 0
        self._error = 0

    def start(self, image: Any, data: bytes, offset: int) -> None:
        """Write ``data`` in the background. Raises what an earlier write has met."""
        with self._changed:
            while self._count >= self._limit:
                self._changed.wait()
            self._raise()
            self._count += 1
        try:
            # The callback keeps the data alive until librbd is done with it.
            image.aio_write(data, offset, functools.partial(self._landed, data))
        except BaseException:
            self._end(0)
            raise

    def drain(self) -> None:
        """Wait for all. Raises what one of them has met. None takes longer than the timeout of operations."""
        with self._changed:
            while self._count:
                self._changed.wait()
            self._raise()

    def _landed(self, data: bytes, completion: Any) -> None:
        self._end(min(0, completion.get_return_value()))

    def _end(self, result: int) -> None:
        with self._changed:
            self._count -= 1
            self._error = self._error or -result
            self._changed.notify_all()

    def _raise(self) -> None:
        if self._error:
            raise failure(self._store, self._error, "a write failed", writing=True)


class OpenImage:
    """An image that is open for reading, with the connection it is open on."""

    def __init__(self, store: str, cluster: RbdCluster, name: str, snapshot: str | None) -> None:
        self._store, self._cluster = store, cluster
        self._connection: RbdConnection | None = cluster.borrow()
        try:
            with rbd_errors(store):
                self.image: Any = rbd.Image(self._connection.pool, name, snapshot=snapshot, read_only=True)
        except BaseException:
            cluster.give_back(self._connection)
            raise

    def close(self) -> None:
        """Close the image; harmless when called again, and does not raise."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        broken = False
        try:
            with rbd_errors(self._store):
                self.image.close()
        except StoreError:
            broken = True
        self._cluster.give_back(connection, broken=broken)

    def __enter__(self) -> Any:
        return self.image

    def __exit__(self, *_: object) -> None:
        self.close()


class RbdReader(Reader):
    """Reads an open image."""

    def __init__(self, store: str, image: OpenImage, offset: int, length: int) -> None:
        self._store, self._image, self._offset = store, image, offset
        self.length = self._left = length

    def read(self, size: int) -> bytes:
        """See ``Reader.read``."""
        count = min(size, self._left)
        if count <= 0:
            return b""
        with rbd_errors(self._store):
            data: bytes = self._image.image.read(self._offset, count)
        if not data:
            raise StoreDamaged(f"store {self._store} holds less of this image than it should")
        self._offset += len(data)
        self._left -= len(data)
        return data

    def close(self) -> None:
        """See ``Reader.close``."""
        self._image.close()
