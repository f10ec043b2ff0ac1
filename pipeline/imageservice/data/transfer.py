"""Transfer bytes, the one path for all of them: from a source, past the taps, into the sinks.

A source is a request's body, a staged file, a web server, another store. Taps see every byte once: digests, format
inspection, signature verification. Sinks are writers of stores. The calling thread reads, each digest and each sink
works in a thread of its own, and a stream that fits into one block takes no threads at all. Memory is a few blocks of
the process's budget, whatever the image's size.

The transfer neither commits nor judges: afterwards the caller asks the taps, then commits the sinks.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pipeline.base.progress import Progress, nothing
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.buffers import BLOCK, Buffers, Zeros
from pipeline.imageservice.data.consumers import AnyBlock, Consumer
from pipeline.imageservice.errors import Invalid, LimitExceeded
from pipeline.imageservice.stores.base import Writer


class Source(Protocol):
    """Where bytes come from.

    ``size``: how many there will be, where that is known.
    """

    size: int | None

    @property
    def ended(self) -> bool:
        """Whether everything has been delivered, as far as is known by now."""

    def readinto(self, view: memoryview, cancel_token: CancelToken) -> int:
        """Fill the beginning of ``view``; 0 at the end. May return early when the other side is slow.

        Raises the service's errors, and what ``cancel_token`` raises while waiting.
        """


@runtime_checkable
class Sparse(Protocol):
    """A source that knows where its holes are."""

    def hole(self, limit: int) -> int:
        """Return how many zero bytes come next, at most ``limit``, without reading them; they count as delivered."""


class Tap(Protocol):
    """Something that sees every byte. ``own_thread``: whether it is worth one."""

    own_thread: bool

    def update(self, data: memoryview) -> object:
        """Look at the next bytes; the memory belongs to somebody else afterwards."""


@dataclass(frozen=True)
class LaggingSink:
    """A sink that was too slow for the others and has to go on by itself, from ``offset``."""

    offset: int
    consumer: Consumer

    def settle(self, cancel_token: CancelToken) -> None:
        """Wait until the sink has done what it was given. Raises what it, or ``cancel_token``, raises."""
        self.consumer.drain(cancel_token)
        if self.consumer.error is not None:
            raise self.consumer.error


@dataclass(frozen=True)
class TransferResult:
    """What went through: bytes; the sinks that failed on the way, with what they raised; those that fell behind."""

    size: int
    dropped: dict[Writer, Exception]
    behind: dict[Writer, LaggingSink]


def transfer(
    source: Source,
    sinks: Sequence[Writer],
    buffers: Buffers,
    *,
    taps: Sequence[Tap] = (),
    limit: int | None = None,
    cancel_token: CancelToken | None = None,
    progress: Progress = nothing,
    drop_failing: bool = False,
    timeout: float | None = None,
) -> TransferResult:
    """Move all bytes of ``source``.

    ``limit``: the most bytes to take. With ``drop_failing`` a sink that fails is aborted and left out as long as
    another one is left; otherwise its error ends the transfer. ``timeout``: a sink that holds up others for so many
    seconds falls behind: it gets no more blocks, and the caller goes on with it from where it was.

    Raises ``Invalid`` when the source delivers other than ``source.size`` bytes, ``LimitExceeded`` above ``limit``, and
    what source, taps, sinks and ``cancel_token`` raise; every sink has then been aborted.
    """
    if limit is not None and source.size is not None and source.size > limit:
        raise _too_large(limit)
    cancel_token = cancel_token or CancelToken()
    if source.size is not None and _cloned(source, sinks, taps):
        progress.advance(source.size, source.size)
        return TransferResult(source.size, {}, {})
    work = _Work(sinks, taps, drop_failing, timeout)
    with work.aborted_on_error():
        size = 0
        for block in _blocks(source, buffers, cancel_token):
            size += block.length
            if limit is not None and size > limit:
                raise _too_large(limit)
            if source.size is not None and size > source.size:
                raise Invalid(f"There is more data than the {source.size} bytes that were announced")
            work.feed(block, cancel_token, last=source.ended)
            progress.advance(size, source.size)
        if source.size is not None and size < source.size:
            raise Invalid(f"The data ended after {size} of the {source.size} bytes that were announced")
        work.drain(cancel_token)
    return TransferResult(size, work.dropped, work.behind)


def _cloned(source: Source, sinks: Sequence[Writer], taps: Sequence[Tap]) -> bool:
    """Whether the only sink could take the source's file as it is, since nobody has to see its bytes."""
    file = getattr(source, "file", None)
    return file is not None and not taps and len(sinks) == 1 and sinks[0].clone(file, source.size or 0)


def _too_large(limit: int) -> LimitExceeded:
    return LimitExceeded(f"The image is larger than {limit} bytes, the most the service takes")


def _blocks(source: Source, buffers: Buffers, cancel_token: CancelToken) -> Iterator[AnyBlock]:
    """Yield filled blocks; each is the loop's until it asks for the next one."""
    hole: Callable[[int], int] = source.hole if isinstance(source, Sparse) else lambda limit: 0
    while True:
        while zeros := hole(BLOCK):
            cancel_token.check()
            yield Zeros(zeros)
        block = buffers.take(cancel_token.deadline)
        try:
            cancel_token.check()
            block.length = source.readinto(block.memory, cancel_token)
            if not block.length:
                return
            yield block
        finally:
            block.release()


class _Work:
    """The consumers of one transfer. A stream of a single block is worked on in the reader's own thread."""

    def __init__(self, sinks: Sequence[Writer], taps: Sequence[Tap], drop_failing: bool, timeout: float | None) -> None:
        self.dropped: dict[Writer, Exception] = {}
        self.behind: dict[Writer, LaggingSink] = {}
        self._timeout = timeout
        self._fed = 0
        self._sinks = {sink: Consumer(functools.partial(_write, sink), "sink") for sink in sinks}
        self._beside = [Consumer(functools.partial(_show, tap), "tap") for tap in taps if tap.own_thread]
        self._inline = [tap for tap in taps if not tap.own_thread]
        self._drop_failing = drop_failing
        self._threaded = False

    @contextlib.contextmanager
    def aborted_on_error(self) -> Iterator[None]:
        """Abort every sink when the block ends in an error."""
        try:
            yield
        except BaseException:
            for consumer in self._beside:
                consumer.cancel(lambda: None)
            left_behind = {sink: slow.consumer for sink, slow in self.behind.items()}
            for sink, consumer in {**self._sinks, **left_behind}.items():
                consumer.cancel(sink.abort)
            raise

    def feed(self, block: AnyBlock, cancel_token: CancelToken, *, last: bool) -> None:
        """Hand a block to everybody; ``last``: none follows."""
        for tap in self._inline:
            tap.update(block.view)
        self._threaded = self._threaded or not last
        for consumer in [*self._beside, *self._sinks.values()]:
            if not self._threaded:
                consumer.do(block)
            elif not consumer.put(block, cancel_token, timeout=self._timeout_for(consumer)):
                self._leave_behind(consumer)
        self._fed += block.length
        self._settle()

    def _timeout_for(self, consumer: Consumer) -> float | None:
        """How long a line may hold up the others: the last sink may do so for ever, and so may a tap."""
        return None if len(self._sinks) < 2 or consumer in self._beside else self._timeout

    def _leave_behind(self, consumer: Consumer) -> None:
        sink = next(sink for sink, its in self._sinks.items() if its is consumer)
        del self._sinks[sink]
        self.behind[sink] = LaggingSink(self._fed, consumer)

    def drain(self, cancel_token: CancelToken) -> None:
        """Let everybody finish."""
        for consumer in [*self._beside, *self._sinks.values()]:
            consumer.drain(cancel_token)
        self._settle()

    def _settle(self) -> None:
        for consumer in self._beside:
            if consumer.error is not None:
                raise consumer.error
        for sink, consumer in list(self._sinks.items()):
            if consumer.error is None:
                continue
            if not self._drop_failing or len(self._sinks) == 1:
                raise consumer.error
            del self._sinks[sink]
            self.dropped[sink] = consumer.error
            consumer.cancel(sink.abort)


def _write(sink: Writer, block: AnyBlock) -> None:
    if isinstance(block, Zeros):
        sink.hole(block.length)
    else:
        sink.write(block.view)


def _show(tap: Tap, block: AnyBlock) -> None:
    tap.update(block.view)
