"""The one path for all bytes: from a source, past the taps, into the sinks.

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
from typing import Protocol

from pipeline.base.progress import Progress, nothing
from pipeline.imageservice.data.buffers import BLOCK, Buffers, Zeros
from pipeline.imageservice.data.control import Control
from pipeline.imageservice.data.lines import AnyBlock, Line
from pipeline.imageservice.errors import Invalid, LimitExceeded
from pipeline.imageservice.stores.store import Writer


class Source(Protocol):
    """Where bytes come from.

    ``size``: how many there will be, where that is known.
    """

    size: int | None

    @property
    def ended(self) -> bool:
        """Whether everything has been delivered, as far as is known by now."""

    def readinto(self, view: memoryview, control: Control) -> int:
        """Fill the beginning of ``view``; 0 at the end. May return early when the other side is slow.

        Raises the service's errors, and what ``control`` raises while waiting.
        """


class Sparse(Protocol):
    """A source that knows where its holes are."""

    def hole(self, limit: int) -> int:
        """How many zero bytes come next, at most ``limit``, without reading them; they count as delivered."""


class Tap(Protocol):
    """Something that sees every byte. ``own_thread``: whether it is worth one."""

    own_thread: bool

    def update(self, data: memoryview) -> object:
        """Look at the next bytes; the memory belongs to somebody else afterwards."""


@dataclass(frozen=True)
class Behind:
    """A sink that was too slow for the others and has to go on by itself, from ``offset``."""

    offset: int
    line: Line

    def settle(self, control: Control) -> None:
        """Wait until the sink has done what it was given. Raises what it, or ``control``, raises."""
        self.line.drain(control)
        if self.line.error is not None:
            raise self.line.error


@dataclass(frozen=True)
class Moved:
    """What went through: bytes; the sinks that failed on the way, with what they raised; those that fell behind."""

    size: int
    dropped: dict[Writer, Exception]
    behind: dict[Writer, Behind]


def transfer(
    source: Source,
    sinks: Sequence[Writer],
    buffers: Buffers,
    *,
    taps: Sequence[Tap] = (),
    limit: int | None = None,
    control: Control | None = None,
    progress: Progress = nothing,
    drop_failing: bool = False,
    patience: float | None = None,
) -> Moved:
    """Move all bytes of ``source``.

    ``limit``: the most bytes to take. With ``drop_failing`` a sink that fails is aborted and left out as long as
    another one is left; otherwise its error ends the transfer. ``patience``: a sink that holds up others for so many
    seconds falls behind: it gets no more blocks, and the caller goes on with it from where it was.

    Raises ``Invalid`` when the source delivers other than ``source.size`` bytes, ``LimitExceeded`` above ``limit``, and
    what source, taps, sinks and ``control`` raise; every sink has then been aborted.
    """
    if limit is not None and source.size is not None and source.size > limit:
        raise _too_large(limit)
    control = control or Control()
    if source.size is not None and _cloned(source, sinks, taps):
        progress.advance(source.size, source.size)
        return Moved(source.size, {}, {})
    work = _Work(sinks, taps, drop_failing, patience)
    with work.aborted_on_error():
        size = 0
        for block in _blocks(source, buffers, control):
            size += block.length
            if limit is not None and size > limit:
                raise _too_large(limit)
            if source.size is not None and size > source.size:
                raise Invalid(f"There is more data than the {source.size} bytes that were announced")
            work.feed(block, control, last=source.ended)
            progress.advance(size, source.size)
        if source.size is not None and size < source.size:
            raise Invalid(f"The data ended after {size} of the {source.size} bytes that were announced")
        work.drain(control)
    return Moved(size, work.dropped, work.behind)


def _cloned(source: Source, sinks: Sequence[Writer], taps: Sequence[Tap]) -> bool:
    """Whether the only sink could take the source's file as it is, since nobody has to see its bytes."""
    file = getattr(source, "file", None)
    return file is not None and not taps and len(sinks) == 1 and sinks[0].clone(file, source.size or 0)


def _too_large(limit: int) -> LimitExceeded:
    return LimitExceeded(f"The image is larger than {limit} bytes, the most the service takes")


def _blocks(source: Source, buffers: Buffers, control: Control) -> Iterator[AnyBlock]:
    """Filled blocks; each is the loop's until it asks for the next one."""
    hole: Callable[[int], int] = getattr(source, "hole", lambda limit: 0)
    while True:
        while zeros := hole(BLOCK):
            control.check()
            yield Zeros(zeros)
        block = buffers.take(control.deadline)
        try:
            control.check()
            block.length = source.readinto(block.memory, control)
            if not block.length:
                return
            yield block
        finally:
            block.release()


class _Work:
    """The lines of one transfer. A stream of a single block is worked on in the reader's own thread."""

    def __init__(
        self, sinks: Sequence[Writer], taps: Sequence[Tap], drop_failing: bool, patience: float | None
    ) -> None:
        self.dropped: dict[Writer, Exception] = {}
        self.behind: dict[Writer, Behind] = {}
        self._patience = patience
        self._fed = 0
        self._sinks = {sink: Line(functools.partial(_write, sink), "sink") for sink in sinks}
        self._beside = [Line(functools.partial(_show, tap), "tap") for tap in taps if tap.own_thread]
        self._inline = [tap for tap in taps if not tap.own_thread]
        self._drop_failing = drop_failing
        self._threaded = False

    @contextlib.contextmanager
    def aborted_on_error(self) -> Iterator[None]:
        """Abort every sink when the block ends in an error."""
        try:
            yield
        except BaseException:
            for line in self._beside:
                line.cancel(lambda: None)
            left_behind = {sink: slow.line for sink, slow in self.behind.items()}
            for sink, line in {**self._sinks, **left_behind}.items():
                line.cancel(sink.abort)
            raise

    def feed(self, block: AnyBlock, control: Control, *, last: bool) -> None:
        """Hand a block to everybody; ``last``: none follows."""
        for tap in self._inline:
            tap.update(block.view)
        self._threaded = self._threaded or not last
        for line in [*self._beside, *self._sinks.values()]:
            if not self._threaded:
                line.do(block)
            elif not line.put(block, control, patience=self._patience_with(line)):
                self._leave_behind(line)
        self._fed += block.length
        self._settle()

    def _patience_with(self, line: Line) -> float | None:
        """How long a line may hold up the others: the last sink may do so for ever, and so may a tap."""
        return None if len(self._sinks) < 2 or line in self._beside else self._patience

    def _leave_behind(self, line: Line) -> None:
        sink = next(sink for sink, its in self._sinks.items() if its is line)
        del self._sinks[sink]
        self.behind[sink] = Behind(self._fed, line)

    def drain(self, control: Control) -> None:
        """Let everybody finish."""
        for line in [*self._beside, *self._sinks.values()]:
            line.drain(control)
        self._settle()

    def _settle(self) -> None:
        for line in self._beside:
            if line.error is not None:
                raise line.error
        for sink, line in list(self._sinks.items()):
            if line.error is None:
                continue
            if not self._drop_failing or len(self._sinks) == 1:
                raise line.error
            del self._sinks[sink]
            self.dropped[sink] = line.error
            line.cancel(sink.abort)


def _write(sink: Writer, block: AnyBlock) -> None:
    if isinstance(block, Zeros):
        sink.hole(block.length)
    else:
        sink.write(block.view)


def _show(tap: Tap, block: AnyBlock) -> None:
    tap.update(block.view)
