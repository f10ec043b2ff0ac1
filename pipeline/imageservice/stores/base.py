"""Define what a store is.

A store keeps objects under names (the image's id) and hands out locations, whose addresses are those of
glance_store, so that either service reads what the other wrote. Everything here blocks; a store may be used by many
threads at once, a ``Writer`` or ``Reader`` by one thread at a time.

Nothing half-written is ever visible: bytes go to a place of the *attempt* (a token that names one try, unique for
ever), and ``Writer.commit`` makes the object appear by one atomic act. Whatever a killed process left can be
found by ``Store.incomplete`` and told by its attempt.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import BinaryIO, Self

from pipeline.imageservice.fetching.ssrf_filter import CheckedUri
from pipeline.imageservice.stores.budget import Budget, Unlimited
from pipeline.imageservice.stores.errors import BadLocation, ObjectMissing, StoreError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
ATTEMPT = re.compile(r"[A-Za-z0-9]{16,64}")  # longer than a part of a UUID, which a segment's name may end with
ZEROS = bytes(1 << 20)


@dataclass(frozen=True)
class Capabilities:
    """What a back end can do, so that callers ask a question instead of a type."""

    writable: bool = True
    ranges: bool = True  # a read may start and end anywhere
    holes: bool = False  # blocks of zeros take no room
    listable: bool = True  # ``objects`` and ``incomplete`` find what is there
    files: bool = False  # readers have a ``file`` that the kernel can send
    deletes: bool = True  # what lies here can be removed, so it matters whose it is


@dataclass(frozen=True)
class Space:
    """Room in a store, in bytes; ``None`` where the back end doesn't tell."""

    total: int | None = None
    free: int | None = None


@dataclass(frozen=True)
class StoredObject:
    """An object as it lies in a store. ``metadata`` goes into the location's metadata."""

    uri: str
    size: int
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FoundObject:
    """An object met while listing a store."""

    name: str
    stored: StoredObject
    modified: datetime


@dataclass(frozen=True)
class IncompleteObject:
    """What an unfinished write has left so far. ``key`` is the back end's own name for it."""

    name: str
    attempt: str
    key: str
    modified: datetime


class Writer(ABC):
    """One object on its way into a store. As a context manager it aborts unless it was committed."""

    @abstractmethod
    def write(self, data: memoryview) -> None:
        """Append ``data``; when this returns, the memory may be reused. Raises ``StoreError``."""

    def hole(self, length: int) -> None:
        """Append ``length`` zero bytes. Back ends that keep holes make one."""
        while length > 0:
            self.write(memoryview(ZEROS)[: min(length, len(ZEROS))])
            length -= len(ZEROS)

    def clone(self, file: BinaryIO, length: int) -> bool:
        """Take the ``length`` bytes of an open file by sharing its blocks, before anything was written.

        Returns whether that has been done; it can be where both lie on one file system that is able to.
        """
        return False

    @abstractmethod
    def commit(self, *, replace: bool = False) -> StoredObject:
        """Make the object appear, whole and durable, by one atomic act.

        Raises ``ObjectExists`` when the name is taken and ``replace`` is false; the writer may then still commit
        with ``replace`` or abort.
        """

    @abstractmethod
    def abort(self) -> None:
        """Remove everything written so far. Harmless after the end and when called again; does not raise."""

    def leave(self) -> None:
        """End without a trace of the writer, but leave what was written, for ``Store.take_over``, where that works."""
        self.abort()

    @abstractmethod
    def undo(self) -> None:
        """After ``commit``: remove the object again, unless a later writer has replaced it meanwhile."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


class Reader(ABC):
    """The bytes of one object, or of a range of it, in order.

    ``length``: how many bytes this reader delivers. ``file``: where the back end has one, an open file positioned
    at the first of them, for sendfile(2); it belongs to the reader.
    """

    length: int
    file: BinaryIO | None = None

    @abstractmethod
    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes, none at the end.

        Raises ``StoreDamaged`` when the object ends before ``length`` bytes, ``StoreUnavailable`` when the back end
        stops answering.
        """

    def readinto(self, view: memoryview) -> int:
        """Fill the beginning of ``view`` and return how many bytes that were; 0 at the end."""
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def hole(self, limit: int) -> int:
        """Return how many zero bytes come next, at most ``limit``, as far as the back end knows; they count as read."""
        return 0

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection or file. May be called at any time and again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class UnfinishedWrite:
    """An unfinished write to go on with: what has been written, and a writer that appends to it."""

    reader: Reader
    writer: Writer


def _anywhere(uri: str) -> CheckedUri:
    raise RuntimeError("no filter for addresses has been given")


@dataclass(frozen=True)
class DriverContext:
    """What drivers get from the process they run in.

    ``budget``: its memory for image data. ``check_uri``: where the service may connect to when it fetches a URI; raises
    ``Invalid`` for one it must not fetch. ``share``: the bytes of the budget that a single store may have.
    """

    budget: Budget = field(default_factory=Unlimited)
    check_uri: Callable[[str], CheckedUri] = _anywhere
    share: int = 1 << 40


class Store(ABC):
    """One configured store."""

    type: str  # as in the settings: file, s3, …
    schemes: tuple[str, ...]  # of the addresses it understands, the one it writes first

    def __init__(self, identifier: str, *, description: str = "", weight: int = 0) -> None:
        self.id = identifier
        self.description = description
        self.weight = weight

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this store can do."""

    @abstractmethod
    def properties(self) -> dict[str, object]:
        """Return what ``/v2/info/stores/detail`` shows of its settings; never a secret."""

    @abstractmethod
    def check(self) -> None:
        """See whether the store can be used now. Raises ``StoreUnavailable`` or ``WriteRefused`` with the reason."""

    @abstractmethod
    def writer(self, name: str, *, size: int | None, attempt: str) -> Writer:
        """Begin to write the object ``name``.

        ``size``: its exact length in bytes where known. ``attempt``: names this try. Raises ``StoreFull`` when
        it can't fit, ``WriteRefused``, ``StoreUnavailable``.
        """

    @abstractmethod
    def reader(self, uri: str, *, offset: int = 0, length: int | None = None) -> Reader:
        """Open an object from ``offset``, for ``length`` bytes (``None``: to its end).

        Raises ``ObjectMissing``, ``BadLocation``, ``StoreUnavailable``, and ``ValueError`` for a range
        that does not lie within the object.
        """

    @abstractmethod
    def size(self, uri: str) -> int:
        """Return the object's length in bytes. Raises as ``reader``."""

    @abstractmethod
    def delete(self, uri: str) -> None:
        """Remove the object. Raises ``ObjectMissing``, ``ObjectInUse``, ``BadLocation``, ``StoreUnavailable``."""

    def exists(self, uri: str) -> bool:
        """Return whether the object is there. Raises ``StoreUnavailable`` when that can't be told."""
        try:
            self.size(uri)
        except ObjectMissing:
            return False
        return True

    @abstractmethod
    def find(self, name: str) -> StoredObject | None:
        """Return the complete object of that name, if there is one. Raises ``StoreUnavailable``."""

    @abstractmethod
    def validate(self, uri: str) -> None:
        """Raise ``BadLocation`` unless ``uri`` is well formed and lies within this store. Touches nothing."""

    def canonical(self, uri: str) -> str:
        """Return the address as this store writes it itself, without the credentials that old ones held.

        Raises as ``validate``.
        """
        self.validate(uri)
        return uri

    @abstractmethod
    def identify(self, uri: str) -> str:
        """Return the identity of the object at ``uri``: that of the back end, and the object's name after the last
        slash.

        All spellings of an address that reach one object have one identity, in every store that is configured with
        the same back end; no two objects have the same. Raises as ``validate``, and ``StoreUnavailable`` where the
        back end has to say who it is and does not answer; asked once, it is remembered.
        """

    @abstractmethod
    def identities(self, name: str) -> tuple[str, ...]:
        """See ``identify``: every identity that an object of that name can get when it is written here."""

    def is_internal(self, uri: str) -> bool:
        """Return whether an object of this name is one that only writers make for themselves, as a segment of an
        image.
        """
        return False

    def owns(self, uri: str) -> bool:
        """Return whether ``uri`` lies within this store."""
        try:
            self.validate(uri)
        except BadLocation:
            return False
        return True

    def objects(self) -> Iterator[FoundObject]:
        """Return every complete object in the store, in no order."""
        raise StoreError(f"store {self.id} cannot list its objects")

    def incomplete(self) -> Iterator[IncompleteObject]:
        """Return what unfinished writes have left, the running ones' too."""
        raise StoreError(f"store {self.id} cannot list its objects")

    def discard(self, what: IncompleteObject) -> None:
        """Remove what an unfinished write left. The caller makes sure that its attempt has ended."""
        raise StoreError(f"store {self.id} cannot list its objects")

    def take_over(self, what: IncompleteObject, *, attempt: str, name: str) -> UnfinishedWrite | None:
        """Go on, as a new attempt, with what an unfinished write left; ``None`` where that cannot be, or it is gone.

        ``name``: what the object is to be called, which need not be what the old attempt would have called it.

        The caller makes sure that the old attempt has ended, and that the machine has been up all the time.
        """
        return None

    def space(self) -> Space:
        """Return room that is left."""
        return Space()

    def close(self) -> None:  # noqa: B027 - most stores keep no connections
        """Give back connections."""


def checked_name(name: str) -> str:
    """Return ``name`` if it is fit for an object's name in every back end. Raises ``ValueError``."""
    if not NAME.fullmatch(name):
        raise ValueError(f"not a name for an object: {name!r}")
    return name


def checked_attempt(attempt: str) -> str:
    """Return ``attempt`` if it is a well-formed token. Raises ``ValueError``."""
    if not ATTEMPT.fullmatch(attempt):
        raise ValueError(f"not a token for an attempt: {attempt!r}")
    return attempt
