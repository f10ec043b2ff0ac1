"""Store images as block images in Ceph.

An image's address is ``rbd://FSID/POOL/NAME/snap``, as glance_store has it: the protected snapshot is what volumes are
cloned of. Addresses of old, ``rbd://NAME``, mean this store's pool.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote, unquote

import rados
import rbd

from pipeline.base.urls import without_secrets
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
from pipeline.imageservice.stores.errors import BadLocation, ObjectMissing, WriteRefused
from pipeline.imageservice.stores.rbd.cluster import RbdCluster
from pipeline.imageservice.stores.rbd.errors import rbd_errors
from pipeline.imageservice.stores.rbd.images import PARTIAL, SNAPSHOT, address, forget_half_a_name, partial_name, remove
from pipeline.imageservice.stores.rbd.io import OpenImage, RbdReader, RbdWriter
from pipeline.imageservice.stores.rbd.options import RbdOptions


class RbdStore(Store):
    """One pool of a cluster."""

    type = "rbd"
    schemes = ("rbd",)

    def __init__(self, options: RbdOptions, context: DriverContext | None = None) -> None:
        super().__init__(options.id, description=options.description, weight=options.weight)
        self.options = options
        self._budget = (context or DriverContext()).budget
        self._cluster = RbdCluster(options)

    @property
    def capabilities(self) -> Capabilities:
        """Everything but files."""
        return Capabilities(writable=not self.options.read_only, holes=self.options.holes)

    def properties(self) -> dict[str, object]:
        """Return them as the reference names them."""
        return {
            "chunk_size": self.options.object_size,
            "pool": self.options.pool,
            "thin_provisioning": self.options.holes,
            **self._known_fsid(),
        }

    def check(self) -> None:
        """Check that the cluster answers and the pool can be read."""
        with self._cluster.connection() as connection, rbd_errors(self.id), contextlib.suppress(rados.ObjectNotFound):
            connection.pool.stat("rbd_directory")  # which comes with the first image

    def writer(self, name: str, *, size: int | None, attempt: str) -> Writer:
        """See ``Store.writer``."""
        checked_name(name), checked_attempt(attempt)
        if self.options.read_only:
            raise WriteRefused(f"store {self.id} is read-only")
        return RbdWriter(self.options, self._cluster, self._budget, name, size, attempt)

    def reader(self, uri: str, *, offset: int = 0, length: int | None = None) -> Reader:
        """See ``Store.reader``."""
        opened = self._open(*self._parse(uri))
        try:
            with rbd_errors(self.id):
                size = opened.image.size()
            length = size - offset if length is None else length
            if offset < 0 or length < 0 or offset + length > size:
                raise ValueError(f"bytes {offset} to {offset + length} do not lie in an object of {size}")
        except BaseException:
            opened.close()
            raise
        return RbdReader(self.id, opened, offset, length)

    def size(self, uri: str) -> int:
        """See ``Store.size``."""
        with rbd_errors(self.id), self._open(*self._parse(uri)) as image:
            return int(image.size())

    def delete(self, uri: str) -> None:
        """See ``Store.delete``. An image that volumes are cloned of is in use."""
        name, snapshot = self._parse(uri)
        with self._cluster.connection() as connection, rbd_errors(self.id, writing=True):
            remove(connection.pool, name, snapshot or SNAPSHOT)

    def find(self, name: str) -> StoredObject | None:
        """See ``Store.find``. An image without its snapshot is not complete, or not an image of ours."""
        try:
            with rbd_errors(self.id), self._open(checked_name(name), SNAPSHOT) as image:
                return StoredObject(address(self._cluster.fsid, self.options.pool, name), image.size())
        except ObjectMissing:
            return None

    def validate(self, uri: str) -> None:
        """See ``Store.validate``."""
        self._parse(uri)

    def identify(self, uri: str) -> str:
        """See ``Store.identify``: the image, whichever of its snapshots an address names."""
        return self._identity(self._parse(uri)[0])

    def identities(self, name: str) -> tuple[str, ...]:
        """See ``Store.identities``."""
        return (self._identity(checked_name(name)),)

    def objects(self) -> Iterator[FoundObject]:
        """See ``Store.objects``. A pool may hold volumes too, so only images with the snapshot count."""
        for name in self._names():
            if not NAME.fullmatch(name):
                continue
            with contextlib.suppress(ObjectMissing), rbd_errors(self.id):
                with self._open(name, SNAPSHOT) as image:
                    stored = StoredObject(address(self._cluster.fsid, self.options.pool, name), image.size())
                    modified = _utc(image.modify_timestamp())
                yield FoundObject(name, stored, modified)

    def incomplete(self) -> Iterator[IncompleteObject]:
        """See ``Store.incomplete``."""
        for key in self._names():
            if key.startswith(PARTIAL):
                attempt, _, name = key.removeprefix(PARTIAL).partition(".")
                with contextlib.suppress(ObjectMissing), rbd_errors(self.id):
                    with self._open(key) as image:
                        modified = _utc(image.modify_timestamp())
                    yield IncompleteObject(name, attempt, key, modified)

    def discard(self, what: IncompleteObject) -> None:
        """See ``Store.discard``. While the dead writer still counts as there, half a minute, it is in use."""
        if what.key != partial_name(checked_attempt(what.attempt), checked_name(what.name)):
            raise ValueError(f"not an unfinished write of this store: {what.key}")
        with (
            self._cluster.connection() as connection,
            contextlib.suppress(ObjectMissing),
            rbd_errors(self.id, writing=True),
        ):
            forget_half_a_name(connection.pool, what.key, what.name)
            remove(connection.pool, what.key)

    def space(self) -> Space:
        """Return the cluster's space, which pools share."""
        with self._cluster.connection() as connection, rbd_errors(self.id):
            found = connection.client.get_cluster_stats()
        return Space(found["kb"] << 10, found["kb_avail"] << 10)

    def close(self) -> None:
        """See ``Store.close``."""
        self._cluster.close()

    def _open(self, name: str, snapshot: str | None = None) -> OpenImage:
        return OpenImage(self.id, self._cluster, name, snapshot)

    def _identity(self, name: str) -> str:
        return f"rbd:{self._cluster.fsid.lower()}/{quote(self.options.pool, '')}/{name}"

    def _names(self) -> list[str]:
        with self._cluster.connection() as connection, rbd_errors(self.id):
            return list(rbd.RBD().list(connection.pool))

    def _known_fsid(self) -> dict[str, str]:
        """Return the cluster's id, once somebody has asked the cluster."""
        return {"fsid": self._cluster.known_fsid} if self._cluster.known_fsid else {}

    def _parse(self, uri: str) -> tuple[str, str | None]:
        """Return the image and the snapshot an address means; it has to lie in this store's pool."""
        scheme, _, rest = uri.partition("://")
        parts = [unquote(part) for part in rest.split("/")]
        if scheme == "rbd" and len(parts) == 1 and NAME.fullmatch(parts[0]):
            return parts[0], None
        if scheme != "rbd" or len(parts) != 4 or not NAME.fullmatch(parts[2]) or not NAME.fullmatch(parts[3]):
            raise BadLocation(f"not a location of store {self.id}", detail=without_secrets(uri)[:500])
        if parts[1] != self.options.pool or parts[0] != self._cluster.fsid:
            raise BadLocation(f"not a location of store {self.id}", detail=without_secrets(uri)[:500])
        return parts[2], parts[3]


def _utc(when: datetime) -> datetime:
    """Return the time of day that librbd gives, which is the machine's own."""
    return when.astimezone(UTC)
