from __future__ import annotations

import hashlib
import random
import threading
import time
from pathlib import Path

import pytest

from pipeline.image.formats import FormatRefused
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.buffers import BLOCK, Buffers
from pipeline.imageservice.data.sources import FromStore
from pipeline.imageservice.data.taps import DigestTap, InspectionTap
from pipeline.imageservice.data.transfer import transfer
from pipeline.imageservice.errors import Gone, Invalid, LimitExceeded, Unavailable
from pipeline.imageservice.stores.base import StoredObject, Writer
from pipeline.imageservice.stores.errors import StoreUnavailable
from pipeline.imageservice.stores.file.options import FileOptions
from pipeline.imageservice.stores.file.store import FileStore

ATTEMPT = "a" * 32


class Pieces:
    """A source that delivers what it is given, in pieces of the sizes it is given."""

    def __init__(self, data: bytes, sizes: list[int] | None = None, *, size: int | None = None) -> None:
        self.size = size
        self._data, self._sizes = memoryview(data), sizes or []
        self.reads = 0

    @property
    def ended(self) -> bool:
        return not self._data

    def readinto(self, view: memoryview, cancel_token: CancelToken) -> int:
        self.reads += 1
        count = min(len(view), len(self._data), self._sizes.pop(0) if self._sizes else BLOCK)
        view[:count] = self._data[:count]
        self._data = self._data[count:]
        return count


class Kept(Writer):
    """A sink in memory, that can be slow, fail, or hang."""

    def __init__(self, *, fail_after: int | None = None, delay: float = 0, hang: threading.Event | None = None) -> None:
        self.data = bytearray()
        self.aborted = False
        self._fail_after, self._delay, self._hang = fail_after, delay, hang

    def write(self, data: memoryview) -> None:
        if self._hang is not None:
            self._hang.wait()
        time.sleep(self._delay)
        if self._fail_after is not None and len(self.data) + len(data) > self._fail_after:
            raise StoreUnavailable("store x has a fault")
        self.data += data

    def commit(self, *, replace: bool = False) -> StoredObject:
        return StoredObject("memory:", len(self.data))

    def abort(self) -> None:
        self.aborted = True

    def undo(self) -> None:
        pass


def data(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.fixture
def buffers() -> Buffers:
    return Buffers(16 * BLOCK)


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 20 * BLOCK + 7])
@pytest.mark.parametrize("known", [True, False])
def test_everybody_sees_every_byte(buffers: Buffers, size: int, known: bool) -> None:
    content = data(size)
    sinks, taps = [Kept(), Kept()], [DigestTap("md5"), DigestTap("sha512")]
    moved = transfer(Pieces(content, size=size if known else None), sinks, buffers, taps=taps)
    assert moved.size == size
    assert all(sink.data == content for sink in sinks)
    assert taps[0].hexdigest() == hashlib.md5(content).hexdigest()
    assert taps[1].hexdigest() == hashlib.sha512(content).hexdigest()
    assert buffers.used == 0
    assert not any(sink.aborted for sink in sinks)


def test_pieces_of_any_length(buffers: Buffers) -> None:
    content = data(3 * BLOCK + 1000)
    sink, tap = Kept(), DigestTap("sha256")
    transfer(Pieces(content, [1, 7, 1000, 65536, 1, 999_999]), [sink], buffers, taps=[tap])
    assert sink.data == content
    assert tap.hexdigest() == hashlib.sha256(content).hexdigest()


def test_a_short_stream_takes_no_threads(buffers: Buffers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread was started"))
    sink, tap = Kept(), DigestTap("md5")
    transfer(Pieces(b"short"), [sink], buffers, taps=[tap])
    assert sink.data == b"short"
    assert tap.hexdigest() == hashlib.md5(b"short").hexdigest()


def test_memory_does_not_grow_with_the_stream_or_a_slow_sink() -> None:
    buffers = Buffers()
    transfer(Pieces(data(40 * BLOCK)), [Kept(delay=0.005), Kept()], buffers, taps=[DigestTap("md5")])
    assert buffers.peak <= 7 * BLOCK


def test_the_smallest_budget_lets_several_transfers_through() -> None:
    buffers = Buffers(BLOCK)
    content = data(5 * BLOCK)
    sinks = [Kept() for _ in range(6)]
    threads = [threading.Thread(target=transfer, args=(Pieces(content), [sink], buffers)) for sink in sinks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert all(sink.data == content for sink in sinks)
    assert buffers.peak == BLOCK


@pytest.mark.parametrize(("announced", "text"), [(100, "more data than the 100"), (3 * BLOCK, "ended after")])
def test_another_length_than_announced(buffers: Buffers, announced: int, text: str) -> None:
    sink = Kept()
    with pytest.raises(Invalid, match=text):
        transfer(Pieces(data(2 * BLOCK), size=announced), [sink], buffers)
    assert sink.aborted
    assert buffers.used == 0


def test_the_limit_holds_while_streaming(buffers: Buffers) -> None:
    source, sink = Pieces(data(8 * BLOCK)), Kept()
    with pytest.raises(LimitExceeded):
        transfer(source, [sink], buffers, limit=2 * BLOCK)
    assert sink.aborted
    assert source.reads == 3


def test_the_limit_holds_before_the_first_byte(buffers: Buffers) -> None:
    source = Pieces(data(8 * BLOCK), size=8 * BLOCK)
    with pytest.raises(LimitExceeded):
        transfer(source, [Kept()], buffers, limit=8 * BLOCK - 1)
    assert source.reads == 0
    assert transfer(source, [Kept()], buffers, limit=8 * BLOCK).size == 8 * BLOCK


@pytest.mark.parametrize("size", [10, 30 * BLOCK])
def test_a_failing_sink_ends_the_transfer(buffers: Buffers, size: int) -> None:
    good, bad = Kept(), Kept(fail_after=5)
    with pytest.raises(StoreUnavailable):
        transfer(Pieces(data(size)), [good, bad], buffers)
    assert good.aborted
    assert bad.aborted
    assert buffers.used == 0


def test_a_failing_sink_is_dropped_when_that_is_asked_for(buffers: Buffers) -> None:
    content = data(10 * BLOCK)
    good, bad = Kept(), Kept(fail_after=2 * BLOCK)
    moved = transfer(Pieces(content), [good, bad], buffers, drop_failing=True)
    assert good.data == content
    assert bad.aborted
    assert not good.aborted
    assert list(moved.dropped) == [bad]


def test_the_last_sink_is_not_dropped(buffers: Buffers) -> None:
    sinks = [Kept(fail_after=5), Kept(fail_after=BLOCK)]
    with pytest.raises(StoreUnavailable):
        transfer(Pieces(data(10 * BLOCK)), sinks, buffers, drop_failing=True)
    assert all(sink.aborted for sink in sinks)


def test_a_failing_tap_ends_the_transfer(buffers: Buffers) -> None:
    class Fails:
        def __init__(self, own_thread: bool) -> None:
            self.own_thread = own_thread

        def update(self, data: memoryview) -> None:
            raise Invalid("no")

    for own_thread in (True, False):
        sink = Kept()
        with pytest.raises(Invalid):
            transfer(Pieces(data(9 * BLOCK)), [sink], buffers, taps=[Fails(own_thread)])
        assert sink.aborted
        assert buffers.used == 0


def test_a_failing_source_ends_the_transfer(buffers: Buffers) -> None:
    class Fails(Pieces):
        def readinto(self, view: memoryview, cancel_token: CancelToken) -> int:
            if self.reads == 3:
                raise Unavailable("gone")
            return super().readinto(view, cancel_token)

    sink = Kept()
    with pytest.raises(Unavailable):
        transfer(Fails(data(9 * BLOCK)), [sink], buffers, taps=[DigestTap("md5")])
    assert sink.aborted
    assert buffers.used == 0


def test_a_deadline_ends_a_transfer_with_a_hung_sink(buffers: Buffers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.imageservice.data.consumers._LAST_WORDS", 0.1)
    hang = threading.Event()
    hung, good = Kept(hang=hang), Kept()
    with pytest.raises(Unavailable):
        transfer(Pieces(data(30 * BLOCK)), [hung, good], buffers, cancel_token=CancelToken(0.3))
    assert good.aborted
    assert not hung.aborted
    hang.set()
    until = time.monotonic() + 5
    while not hung.aborted and time.monotonic() < until:
        time.sleep(0.01)
    assert hung.aborted
    assert buffers.used == 0


def test_a_transfer_can_be_stopped(buffers: Buffers) -> None:
    cancel_token, sink = CancelToken(), Kept(delay=0.05)
    threading.Timer(0.1, cancel_token.stop, [Gone("the image was deleted")]).start()
    with pytest.raises(Gone):
        transfer(Pieces(bytes(100 * BLOCK)), [sink], buffers, cancel_token=cancel_token)
    assert sink.aborted
    assert buffers.used == 0


def test_progress_is_told(buffers: Buffers) -> None:
    told: list[tuple[int, int | None]] = []

    class Ear:
        def advance(self, done: int, total: int | None, unit: str = "B") -> None:
            told.append((done, total))

        def say(self, text: str) -> None:
            pass

    transfer(Pieces(data(2 * BLOCK), size=2 * BLOCK), [Kept()], buffers, progress=Ear())
    assert told == [(BLOCK, 2 * BLOCK), (2 * BLOCK, 2 * BLOCK)]


def test_from_store_to_store(buffers: Buffers, tmp_path: Path) -> None:
    stores = [FileStore(FileOptions.model_validate({"id": x, "directories": [tmp_path / x]})) for x in "ab"]
    content = data(3 * BLOCK + 5)
    for store in stores:
        store.check()
    with stores[0].writer("x", size=None, attempt=ATTEMPT) as first:
        transfer(Pieces(content), [first], buffers)
        stored = first.commit()
    with stores[0].reader(stored.uri) as reader, stores[1].writer("x", size=stored.size, attempt=ATTEMPT) as second:
        transfer(FromStore(reader), [second], buffers)
        second.commit()
    assert (tmp_path / "b" / "x").read_bytes() == content


def fixed_vhd(size: int) -> bytes:
    """Raw data and the footer that makes it a fixed VHD."""
    footer = bytearray(512)
    footer[:8] = b"conectix"
    footer[48:56] = size.to_bytes(8, "big")
    footer[60:64] = (2).to_bytes(4, "big")
    footer[64:68] = (~sum(footer) & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(size) + bytes(footer)


@pytest.mark.parametrize("last", [1, 100, 511, 512, 513, 70_000])
def test_a_trailer_is_seen_however_the_stream_is_cut(buffers: Buffers, last: int) -> None:
    content = fixed_vhd(8 * BLOCK)
    tap = InspectionTap()
    whole, rest = divmod(len(content) - last, BLOCK)
    transfer(Pieces(content, [*[BLOCK] * whole, rest or BLOCK, last]), [Kept()], buffers, taps=[tap])
    verdict = tap.verdict("vhd")
    assert (verdict.format, verdict.virtual_size, verdict.size) == ("vhd", 8 * BLOCK, len(content))


def test_a_header_is_seen_however_the_stream_is_cut(buffers: Buffers) -> None:
    content = b"QFI\xfb" + data(5 * BLOCK)
    for sizes in ([], [1, 3, 100, 7], [600_000] * 3):
        tap = InspectionTap()
        transfer(Pieces(content, list(sizes)), [Kept()], buffers, taps=[tap])
        with pytest.raises(FormatRefused) as caught:
            tap.verdict("qcow2")
        assert caught.value.detected == "qcow2"
