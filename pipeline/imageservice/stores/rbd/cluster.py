"""Connect to a Ceph cluster: once for all threads of the process, on first use.

What a silent OSD has broken off may leave an image locked, by a lock that others can break but the connection that
holds it cannot. So such a connection gets no new users, and ends with its last one.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import rados

from pipeline.imageservice.stores.errors import StoreError, StoreUnavailable
from pipeline.imageservice.stores.rbd.errors import rbd_errors
from pipeline.imageservice.stores.rbd.options import RbdOptions


@dataclass(eq=False)
class RbdConnection:
    """A client of the cluster with its pool (``rados.Ioctx``) open."""

    client: Any
    pool: Any
    fsid: str
    users: int = field(default=0)
    retired: bool = field(default=False)

    @property
    def features(self) -> int:
        """The features new images get: the cluster's default ones."""
        return int(self.client.conf_get("rbd_default_features") or 0)


class RbdCluster:
    """The cluster and the pool that ``options`` name."""

    def __init__(self, options: RbdOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._current: RbdConnection | None = None
        self.known_fsid: str | None = None

    @property
    def fsid(self) -> str:
        """The cluster's id, which is part of every address.

        Most files ``ceph.conf`` tell it; else the cluster is asked. Raises ``StoreUnavailable``.
        """
        if self.known_fsid is None:
            self.known_fsid = self._configured_fsid()
        if self.known_fsid is None:
            with self.connection() as connection:
                return connection.fsid
        return self.known_fsid

    def _configured_fsid(self) -> str | None:
        with rbd_errors(self._options.id):
            client = rados.Rados(conffile=str(self._options.ceph_conf), rados_id=self._options.user)
            found = str(client.conf_get("fsid") or "")
            client.shutdown()
        return found if found.strip("0-") else None

    @contextlib.contextmanager
    def connection(self) -> Iterator[RbdConnection]:
        """Borrow a connection for the block. Raises ``StoreUnavailable``."""
        connection, broken = self.borrow(), True
        try:
            yield connection
            broken = False
        except StoreError as error:
            broken = isinstance(error, StoreUnavailable)
            raise
        finally:
            self.give_back(connection, broken=broken)

    def borrow(self) -> RbdConnection:
        """Borrow a connection, until ``give_back``. Raises ``StoreUnavailable``."""
        with self._lock:
            if self._current is None:
                self._current = self._connect()
                self.known_fsid = self._current.fsid
            self._current.users += 1
            return self._current

    def give_back(self, connection: RbdConnection, *, broken: bool = False) -> None:
        """Give back a connection; ``broken``: it may have left a lock behind."""
        with self._lock:
            connection.users -= 1
            connection.retired = connection.retired or broken
            if connection.retired and connection is self._current:
                self._current = None
            last = connection.retired and connection.users == 0
        if last:
            # It may wait for a silent cluster.
            threading.Thread(target=_end, args=(connection,), daemon=True).start()

    def close(self) -> None:
        """Let go of the cluster; the next use connects again."""
        with self._lock:
            connection, self._current = self._current, None
            if connection is None:
                return
            connection.retired = True
            idle = connection.users == 0
        if idle:
            _end(connection)

    def _connect(self) -> RbdConnection:
        options = self._options
        # Whole seconds; the cluster's library takes no fractions.
        timeout = math.ceil(options.operation_timeout)
        settings = {
            "client_mount_timeout": str(math.ceil(options.connect_timeout)),
            "rados_mon_op_timeout": str(timeout),
            "rados_osd_op_timeout": str(timeout),
            # When it asks where a silent OSD may be now. Later than an operation ends, it would never ask.
            "objecter_timeout": str(max(1, min(10, timeout // 4))),
            "objecter_tick_interval": str(max(1, min(5, timeout // 8))),
            # Whole images go by once; a cache in between only costs memory and copies.
            "rbd_cache": "false",
        }
        with rbd_errors(options.id):
            client = rados.Rados(conffile=str(options.ceph_conf), rados_id=options.user, conf=settings)
            try:
                client.connect(timeout=math.ceil(options.connect_timeout))
                return RbdConnection(client, client.open_ioctx(options.pool), client.get_fsid())
            except BaseException:
                client.shutdown()
                raise


def _end(connection: RbdConnection) -> None:
    with contextlib.suppress(StoreError), rbd_errors("ceph"):
        connection.pool.close()
        connection.client.shutdown()
