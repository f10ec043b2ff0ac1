"""Store images as volumes of block storage, through glance_store's own driver.

How volumes are attached to this host is os-brick's business, which that driver drives; here it only gets an interface
like the others'. It pulls the bytes it writes, so each writer has a thread for it. It knows neither ranges nor listing.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import glance_store.exceptions
from glance_store.location import Location
from oslo_config import cfg
from oslo_utils import importutils

from pipeline.base.urls import without_secrets
from pipeline.imageservice.stores.base import (
    Capabilities,
    DriverContext,
    Reader,
    Store,
    StoredObject,
    Writer,
    checked_attempt,
    checked_name,
)
from pipeline.imageservice.stores.budget import Budget, reserve
from pipeline.imageservice.stores.cinder.options import CinderOptions
from pipeline.imageservice.stores.errors import (
    BadLocation,
    ObjectExists,
    ObjectInUse,
    ObjectMissing,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreUnavailable,
    WriteRefused,
)

_DRIVER = "glance_store._drivers.cinder.store.Store"
_PIECE = 1 << 20
_DEPTH = 4  # pieces that wait for the driver


class CinderStore(Store):
    """The volumes of one user. ``driver``: the class of the library that does the work."""

    type = "cinder"
    schemes: tuple[str, ...] = ("cinder",)

    def __init__(self, options: CinderOptions, context: DriverContext | None = None, driver: str = _DRIVER) -> None:
        super().__init__(options.id, description=options.description, weight=options.weight)
        self.options = options
        self._budget = (context or DriverContext()).budget
        self._driver_class = driver
        self._lock = threading.Lock()
        self._made: Any = None

    @property
    def capabilities(self) -> Capabilities:
        """Whole images, by their addresses."""
        return Capabilities(writable=not self.options.read_only, ranges=False, listable=False)

    def properties(self) -> dict[str, object]:
        """Return them as the reference names them."""
        return {"volume_type": self.options.volume_type}

    def check(self) -> None:
        """Check that the driver has what it needs. It does not tell more before an image is written."""
        with _cinder_errors(self.id):
            self._driver.configure(re_raise_bsc=True)

    def writer(self, name: str, *, size: int | None, attempt: str) -> Writer:
        """See ``Store.writer``."""
        checked_name(name), checked_attempt(attempt)
        if self.options.read_only:
            raise WriteRefused(f"store {self.id} is read-only")
        with _cinder_errors(self.id):
            return CinderWriter(self, self._driver, self._budget, name, size or 0)

    def reader(self, uri: str, *, offset: int = 0, length: int | None = None) -> Reader:
        """See ``Store.reader``. What comes before ``offset`` is read and thrown away."""
        location = self._location(uri)
        size = self.size(uri)
        length = size - offset if length is None else length
        if offset < 0 or length < 0 or offset + length > size:
            raise ValueError(f"bytes {offset} to {offset + length} do not lie in an object of {size}")
        with _cinder_errors(self.id):
            chunks, _ = self._driver.get(location, context=self.context())
        return CinderReader(self.id, iter(chunks), offset, length)

    def size(self, uri: str) -> int:
        """See ``Store.size``."""
        with _cinder_errors(self.id):
            return int(self._driver.get_size(self._location(uri), context=self.context()))

    def delete(self, uri: str) -> None:
        """See ``Store.delete``."""
        with _cinder_errors(self.id, writing=True):
            self._driver.delete(self._location(uri), context=self.context())

    def find(self, name: str) -> StoredObject | None:
        """Return ``None``: nothing is found by its name."""
        return None

    def validate(self, uri: str) -> None:
        """See ``Store.validate``."""
        scheme, _, rest = uri.partition("://")
        store, slash, _ = rest.rpartition("/")
        if scheme not in self.schemes or (scheme == "cinder" and slash and store != self.id):
            raise BadLocation(f"not a location of store {self.id}", detail=without_secrets(uri)[:500])
        self._location(uri)

    def identify(self, uri: str) -> str:
        """See ``Store.identify``: a volume's id is the only one anywhere."""
        self.validate(uri)
        volume = uri.rpartition("/")[2].lower()
        with contextlib.suppress(ValueError):
            volume = str(uuid.UUID(volume))
        return f"cinder:/{volume}"

    def identities(self, name: str) -> tuple[str, ...]:
        """See ``Store.identities``. Nobody knows yet which volume it will be, but whose name it is."""
        return (f"cinder-name:{self.id}/{checked_name(name)}",)

    @property
    def _driver(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._connect()
            return self._made

    def _connect(self) -> Any:
        """Return the driver, with settings that nothing else in the process sees."""
        conf = cfg.ConfigOpts()
        conf([], project="image-service", default_config_files=[])
        driver: Any = importutils.import_class(self._driver_class)
        with _cinder_errors(self.id):
            made = driver(conf, backend=self.id)
            for name, value in self.options.of_driver().items():
                if name in conf[self.id]:
                    conf.set_override(name, value, group=self.id)
                elif value is not None and name in self.options.more:
                    raise StoreUnavailable(f"store {self.id}: its driver has no option {name}")
            made.configure()
        return made

    def _location(self, uri: str) -> Any:
        driver = self._driver
        try:
            return Location(self.type, driver.get_store_location_class(), driver.conf, uri=uri, backend=self.id)
        except (glance_store.exceptions.GlanceStoreException, ValueError):
            raise BadLocation(f"not a location of store {self.id}", detail=without_secrets(uri)[:500]) from None

    def context(self) -> Any:
        """Return whose volumes they are; the log-in itself is in the driver's settings."""
        return SimpleNamespace(project_id=self.options.project, user_id=self.options.user, auth_token=None)


class CinderWriter(Writer):
    """Feeds the driver, which works in a thread of its own and ends when the bytes do."""

    def __init__(self, store: CinderStore, driver: Any, budget: Budget, name: str, size: int) -> None:
        self._store, self._driver = store, driver
        self._grants = contextlib.ExitStack()
        self._grants.enter_context(reserve(budget, (_DEPTH + 2) * _PIECE))
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_DEPTH)
        self._ended = False
        self._stored: StoredObject | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._add, args=(name, size), name="cinder", daemon=True)
        self._thread.start()

    def write(self, data: memoryview) -> None:
        """See ``Writer.write``."""
        for start in range(0, len(data), _PIECE):
            self._put(bytes(data[start : start + _PIECE]))

    def commit(self, *, replace: bool = False) -> StoredObject:
        """See ``Writer.commit``. Two volumes may have one name, so nothing is ever replaced."""
        self._put(b"")
        self._end()
        self._raise()
        if self._stored is None:
            raise StoreError(f"store {self._store.id} has lost the image")
        return self._stored

    def abort(self) -> None:
        """See ``Writer.abort``. The driver removes the volume when reading fails."""
        if not self._ended:
            with contextlib.suppress(StoreError):
                self._put(None)
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._thread.join()
        self._grants.close()

    def undo(self) -> None:
        """See ``Writer.undo``. Its address is this writer's alone."""
        if self._stored is not None:
            with contextlib.suppress(ObjectMissing):
                self._store.delete(self._stored.uri)

    def _put(self, piece: bytes | None) -> None:
        while True:
            self._raise()
            with contextlib.suppress(queue.Full):
                self._pieces.put(piece, timeout=0.2)
                return

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _add(self, name: str, size: int) -> None:
        try:
            with _cinder_errors(self._store.id, writing=True):
                uri, size, *_ = self._driver.add(
                    name, _Pulled(self._pieces), size, "md5", context=self._store.context()
                )
                self._stored = StoredObject(uri, size)
        except StoreError as error:
            self._error = error


class _Pulled:
    """The pieces as a file."""

    def __init__(self, pieces: queue.Queue[bytes | None]) -> None:
        self._pieces, self._left, self._finished = pieces, b"", False

    def read(self, size: int = -1) -> bytes:
        """Return some bytes, none at the end. Raises ``OSError`` when the writer was aborted."""
        if not self._left and not self._finished:
            piece = self._pieces.get()
            if piece is None:
                raise OSError("the image was given up")
            self._left, self._finished = piece, not piece
        data, self._left = (self._left, b"") if size < 0 else (self._left[:size], self._left[size:])
        return data


class CinderReader(Reader):
    """Cuts what is wanted out of the driver's chunks."""

    def __init__(self, store: str, chunks: Iterator[bytes], skip: int, length: int) -> None:
        self._store, self._chunks, self._skip = store, chunks, skip
        self.length = self._left = length
        self._data = b""

    def read(self, size: int) -> bytes:
        """See ``Reader.read``."""
        while self._left and not self._data:
            with _cinder_errors(self._store):
                chunk = next(self._chunks, None)
            if chunk is None:
                raise StoreDamaged(f"store {self._store} holds less of this image than it should")
            self._data, self._skip = chunk[self._skip :], max(0, self._skip - len(chunk))
        data = self._data[: min(size, self._left)]
        self._data, self._left = self._data[len(data) :], self._left - len(data)
        return data

    def close(self) -> None:
        """See ``Reader.close``. The driver detaches the volume when its iterator goes."""
        close = getattr(self._chunks, "close", None)
        if close is not None:
            with contextlib.suppress(StoreError), _cinder_errors(self._store):
                close()
        self._chunks = iter(())


@contextlib.contextmanager
def _cinder_errors(store: str, *, writing: bool = False) -> Iterator[None]:
    """While the driver works: its errors become the store's."""
    try:
        yield
    except StoreError:
        raise
    except glance_store.exceptions.NotFound as error:
        raise ObjectMissing(f"store {store} does not hold this image", detail=_line(error)) from error
    except glance_store.exceptions.Duplicate as error:
        raise ObjectExists(f"store {store} holds an image of this id already", detail=_line(error)) from error
    except (glance_store.exceptions.InUseByStore, glance_store.exceptions.HasSnapshot) as error:
        raise ObjectInUse(f"the image is in use in store {store}", detail=_line(error)) from error
    except glance_store.exceptions.StorageFull as error:
        raise StoreFull(f"store {store} is full", detail=_line(error)) from error
    except Exception as error:  # whatever libraries below the driver raise
        kind = WriteRefused if writing and isinstance(error, PermissionError) else StoreUnavailable
        raise kind(f"store {store} does not answer as it should", detail=_line(error)) from error


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
