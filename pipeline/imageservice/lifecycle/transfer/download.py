"""Download an image: from a store to a client."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.cancellation.active_transfers import running
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data import ranges
from pipeline.imageservice.data.buffers import Buffers
from pipeline.imageservice.data.ranges import ByteRange
from pipeline.imageservice.data.slots.slots import Slot, SlotKind
from pipeline.imageservice.errors import Forbidden, Invalid, NotFound, ServiceError, StoreFailed, Unavailable
from pipeline.imageservice.lifecycle.records.view import view
from pipeline.imageservice.lifecycle.records.visibility import find_image
from pipeline.imageservice.model.images import Image, ImageStatus, Location
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.base import Reader, Store
from pipeline.imageservice.stores.errors import ObjectMissing, RangeRefused, StoreDamaged, StoreError, StoreUnavailable
from pipeline.imageservice.stores.file.store import FileStore

log = logging.getLogger("imageservice.data")

_PIECE = 512 << 10


@dataclass(frozen=True)
class DownloadRequest:
    """What a request asks for, as its header and parameters say.

    ``prefer``: stores to try first. ``store``: the one to read from, and no other.
    """

    requested: str | None = None
    legacy: str | None = None
    prefer: str | None = None
    store: str | None = None


@dataclass(frozen=True)
class HeldDownload:
    """The right to download now. ``open``: what ends it."""

    cancel_token: CancelToken
    slot: Slot
    open: contextlib.ExitStack


class ImageDownload:
    """An image's data, open for reading: ``reader`` delivers the asked-for part. ``close`` it in the end."""

    def __init__(
        self,
        service: Service,
        caller: Caller,
        image: Image,
        location: Location,
        store: Store,
        reader: Reader,
        part: ByteRange | None,
        held: HeldDownload,
    ) -> None:
        self.image, self.location, self.store, self.reader, self.part = image, location, store, reader, part
        self.cancel_token, self.slot = held.cancel_token, held.slot
        self.view = view(service, caller, image)
        self._service, self._caller = service, caller
        self._open = held.open.pop_all()
        self._open.callback(reader.close)

    @property
    def file_name(self) -> str | None:
        """The data's file as ``store/number of the directory/name``; ``None`` where it lies in no directory."""
        if not isinstance(self.store, FileStore):
            return None
        number, name = self.store.location(self.location.url)
        return f"{self.store.id}/{number}/{name}"

    def ended(self, sent: int, error: BaseException | None) -> None:
        """Note that the response is over after ``sent`` bytes; ``error`` is what cut it off."""
        self._open.close()
        if isinstance(error, StoreUnavailable):
            self._service.health.doubt(self.store)
        if isinstance(error, StoreDamaged):
            log.error("image %s: %s %s", self.image.id, error.message, error.detail or "")
        self._service.notifier.sent(self.image, self._caller, sent=sent, expected=self.reader.length)

    def blocks(self, buffers: Buffers) -> SentBlocks:
        """Return the response's body for servers and stores that can't send a file."""
        return SentBlocks(self.reader, buffers, check=self.cancel_token.check, done=self.ended)


def open_download(service: Service, caller: Caller, image_id: str, asked: DownloadRequest) -> ImageDownload | None:
    """Open an image's data for a caller; ``None`` when there is none yet.

    The stores are tried in turn, the preferred ones first, then the heaviest; where one is asked for, it alone, and it
    is missing or unavailable when it cannot deliver. Raises the service's errors, and the last store's when none can.
    """
    with service.database.read() as connection:
        image = find_image(connection, service.policy, caller, image_id)
    if image.status is ImageStatus.DEACTIVATED and not caller.is_admin:
        raise Forbidden("The requested image has been deactivated. Image data download is forbidden.")
    service.policy.require(caller, "download_image", image)
    preferred = _preferred(service, caller, image, asked)
    if not image.readable_locations or image.status is ImageStatus.IMPORTING:
        return None
    with contextlib.ExitStack() as stack:
        cancel_token = CancelToken()
        stack.enter_context(running.listed(cancel_token))
        slot = stack.enter_context(service.slots.held(SlotKind.DOWNLOAD, caller.project, cancel_token))
        held = HeldDownload(cancel_token, slot, stack)
        if asked.store:
            return _opened_from(asked.store, service, caller, image, asked, held)
        return _opened(service, caller, image, asked, _candidates(service, image, preferred), held)


def _opened_from(
    store: str, service: Service, caller: Caller, image: Image, asked: DownloadRequest, held: HeldDownload
) -> ImageDownload:
    """Open it in one store. What is said of that store is no failure of the service, which may have it elsewhere."""
    found = [one for one in _candidates(service, image, ()) if one[1].id == store]
    if not found:
        raise NotFound(f"Image {image.id} has no data in store {store}")
    try:
        return _opened(service, caller, image, asked, found, held)
    except ObjectMissing:
        raise NotFound(f"Store {store} has lost its data of image {image.id}") from None
    except StoreFailed as error:
        raise Unavailable(f"Store {store} cannot deliver image {image.id}: {error.message}") from error


def _opened(
    service: Service,
    caller: Caller,
    image: Image,
    asked: DownloadRequest,
    candidates: Iterable[tuple[Location, Store]],
    held: HeldDownload,
) -> ImageDownload:
    last: StoreError | None = None
    for location, store in candidates:
        try:
            service.health.require(store)
            size = image.size if image.size is not None else store.size(location.url)
            part = ranges.parse(asked.requested, asked.legacy, size)
            reader = _open(store, location, part, size)
        except StoreError as error:
            last = error
            if isinstance(error, StoreUnavailable):
                service.health.doubt(store)
        else:
            return ImageDownload(service, caller, image, location, store, reader, part, held)
        log.warning("image %s cannot be read from store %s: %s %s", image.id, store.id, last.message, last.detail or "")
    raise last or StoreFailed(f"No store that is configured here holds the data of image {image.id}")


def _open(store: Store, location: Location, part: ByteRange | None, size: int) -> Reader:
    if part is not None and not store.capabilities.ranges:
        raise RangeRefused(f"store {store.id} cannot deliver a part of an image")
    try:
        if part is not None:
            return store.reader(location.url, offset=part.offset, length=part.length)
        return store.reader(location.url, offset=0, length=size)
    except ValueError:
        raise StoreDamaged(f"store {store.id} holds less of this image than it should") from None


def _preferred(service: Service, caller: Caller, image: Image, asked: DownloadRequest) -> Sequence[str]:
    """Check what the request says of stores, and return those to try first."""
    names = [name for name in (asked.prefer or "").split(",") if name]
    if asked.store:
        if names:
            raise Invalid("prefer says where to begin, store where to read and nowhere else: give one of the two")
        if asked.store not in service.stores:
            raise NotFound(f"Store for identifier {asked.store[:64]} not found")
        service.policy.require(caller, "download_from_store", image)
    if not names:
        return ()
    if not service.stores.several:
        raise Invalid("There is one store only, so none can be preferred")
    unknown = [name for name in names if name not in service.stores]
    if unknown:
        raise Invalid(f"Store for identifier {unknown[0][:64]} not found")
    service.policy.require(caller, "download_from_store", image)
    return names


def _candidates(service: Service, image: Image, preferred: Sequence[str]) -> Iterator[tuple[Location, Store]]:
    """Where the data may be read from, in the order in which to try."""
    found = []
    for location in image.readable_locations:
        known = location.store is not None and location.store in service.stores
        store = service.stores[location.store] if known and location.store else service.stores.owner(location.url)
        if store is not None:
            found.append((location, store))
    yield from sorted(found, key=lambda one: (_rank(one[1].id, preferred), -one[1].weight))


def _rank(store: str, preferred: Sequence[str]) -> int:
    return preferred.index(store) if store in preferred else len(preferred)


class SentBlocks:
    """A response's body that is read and sent block by block. See ``server.sending.SentFile``."""

    def __init__(
        self,
        reader: Reader,
        buffers: Buffers,
        *,
        check: Callable[[], None],
        done: Callable[[int, BaseException | None], None],
    ) -> None:
        self._reader, self._buffers, self._check, self._done = reader, buffers, check, done
        self._sent = 0
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        while self._sent < self._reader.length:
            with self._buffers.reserve(_PIECE):
                data = self._read()
                yield data
            self._sent += len(data)

    def close(self) -> None:
        """Close the download: the server calls this at the end, whatever happened."""
        self._done(self._sent, self._error)

    def _read(self) -> bytes:
        try:
            self._check()
            data = self._reader.read(_PIECE)
            if not data:
                raise StoreDamaged("The store holds less of this image than it should")
        except ServiceError as error:
            self._error = error
            # The server takes this as the end of the connection, and says nothing of its own.
            raise ConnectionResetError(errno.ECONNRESET, str(error)) from error
        return data
