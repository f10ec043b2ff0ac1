"""What every store must do. A driver's test module derives from ``StoreContract`` and gives it a ``store``.

Nothing here knows a back end. ``segment`` is the size at which the driver begins a further piece (part, segment,
stripe), so that its borders get tested; a driver whose pieces can be made small should do so.
"""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.imageservice.stores.base import IncompleteObject, Store, StoredObject, Writer
from pipeline.imageservice.stores.errors import BadLocation, ObjectExists, ObjectMissing, WriteRefused

BLOCK = 1 << 20


def pattern(size: int, seed: int = 1) -> bytes:
    """Bytes that don't repeat, so that a wrong offset is seen."""
    return random.Random(seed).randbytes(size)


def attempt() -> str:
    return uuid.uuid4().hex


def write(store: Store, name: str, data: bytes, *, known: bool = True, block: int = BLOCK) -> StoredObject:
    with store.writer(name, size=len(data) if known else None, attempt=attempt()) as writer:
        view = memoryview(data)
        for start in range(0, len(data), block):
            writer.write(view[start : start + block])
        return writer.commit()


def read(store: Store, uri: str, *, offset: int = 0, length: int | None = None, block: int = BLOCK) -> bytes:
    with store.reader(uri, offset=offset, length=length) as reader:
        data = bytearray()
        while piece := reader.read(block):
            data += piece
        assert reader.length == len(data)
        return bytes(data)


class StoreContract:
    segment = BLOCK

    @pytest.fixture
    def name(self) -> str:
        return str(uuid.uuid4())

    def sizes(self) -> list[int]:
        segment = self.segment
        return [0, 1, segment - 1, segment, segment + 1, 3 * segment + 17]

    def test_round_trip_at_all_sizes(self, store: Store) -> None:
        for size in self.sizes():
            for known in (True, False):
                data = pattern(size, seed=size)
                stored = write(store, str(uuid.uuid4()), data, known=known)
                assert stored.size == size
                assert store.size(stored.uri) == size
                assert read(store, stored.uri) == data
                store.delete(stored.uri)

    def test_pieces_of_any_length(self, store: Store, name: str) -> None:
        data = pattern(self.segment + 5000)
        stored = write(store, name, data, block=max(1, self.segment // 7 + 13))
        assert read(store, stored.uri, block=977 if self.segment < BLOCK else 100_003) == data

    def test_the_memory_may_be_reused_after_a_write(self, store: Store, name: str) -> None:
        buffer = bytearray(b"a" * 4096)
        with store.writer(name, size=None, attempt=attempt()) as writer:
            writer.write(memoryview(buffer))
            buffer[:] = b"b" * 4096
            writer.write(memoryview(buffer))
            buffer[:] = b"c" * 4096
            stored = writer.commit()
        assert read(store, stored.uri) == b"a" * 4096 + b"b" * 4096

    def test_readinto(self, store: Store, name: str) -> None:
        data = pattern(self.segment + 3)
        stored = write(store, name, data)
        into = bytearray(len(data))
        view, done = memoryview(into), 0
        with store.reader(stored.uri) as reader:
            while count := reader.readinto(view[done : done + 50_000]):
                done += count
            assert reader.readinto(memoryview(bytearray(8))) == 0
        assert bytes(into) == data

    def test_ranges(self, store: Store, name: str) -> None:
        if not store.capabilities.ranges:
            pytest.skip("the back end cannot do ranges")
        data = pattern(2 * self.segment + 100)
        stored = write(store, name, data)
        border, end = self.segment, len(data)
        for offset, length in [
            (0, 1),
            (0, end),
            (1, None),
            (border - 1, 2),
            (border, border),
            (end - 1, 1),
            (end - 1, None),
            (end, 0),
            (end, None),
        ]:
            wanted = data[offset : end if length is None else offset + length]
            assert read(store, stored.uri, offset=offset, length=length) == wanted
        for offset, length in [(0, end + 1), (end, 1), (end + 1, None), (-1, 1), (0, -1)]:
            with pytest.raises(ValueError):
                read(store, stored.uri, offset=offset, length=length)

    def test_holes(self, store: Store, name: str) -> None:
        size = self.segment
        with store.writer(name, size=None, attempt=attempt()) as writer:
            writer.hole(size + 7)
            writer.write(memoryview(b"middle"))
            writer.hole(3 * size)
            stored = writer.commit()
        assert stored.size == store.size(stored.uri) == 4 * size + 13
        assert read(store, stored.uri) == bytes(size + 7) + b"middle" + bytes(3 * size)

    def test_zeros_are_kept(self, store: Store, name: str) -> None:
        data = bytes(self.segment * 2) + b"x" + bytes(self.segment) + b"y" + bytes(70_000)
        stored = write(store, name, data)
        assert read(store, stored.uri) == data

    def test_nothing_is_visible_before_the_commit(self, store: Store, name: str) -> None:
        with store.writer(name, size=None, attempt=attempt()) as writer:
            writer.write(memoryview(pattern(self.segment + 1)))
            assert store.find(name) is None
            stored = writer.commit()
            assert store.find(name) == StoredObject(stored.uri, self.segment + 1, stored.metadata)

    def test_an_abort_leaves_nothing(self, store: Store, name: str) -> None:
        writer = store.writer(name, size=None, attempt=attempt())
        writer.write(memoryview(pattern(2 * self.segment + 1)))
        writer.abort()
        writer.abort()
        self.assert_empty(store)

    def test_an_error_aborts(self, store: Store, name: str) -> None:
        with pytest.raises(ZeroDivisionError), store.writer(name, size=10, attempt=attempt()) as writer:
            writer.write(memoryview(b"01234"))
            raise ZeroDivisionError
        self.assert_empty(store)

    def test_an_abort_before_the_first_byte_leaves_nothing(self, store: Store, name: str) -> None:
        with store.writer(name, size=10, attempt=attempt()):
            pass
        self.assert_empty(store)

    def test_an_object_is_not_replaced_unasked(self, store: Store, name: str) -> None:
        first = write(store, name, b"first")
        with store.writer(name, size=None, attempt=attempt()) as writer:
            writer.write(memoryview(b"second"))
            with pytest.raises(ObjectExists):
                writer.commit()
        assert read(store, first.uri) == b"first"
        assert not list(store.incomplete())

    def test_an_object_is_replaced_when_asked(self, store: Store, name: str) -> None:
        write(store, name, pattern(self.segment * 2))
        with store.writer(name, size=None, attempt=attempt()) as writer:
            writer.write(memoryview(b"second"))
            with pytest.raises(ObjectExists):
                writer.commit()
            stored = writer.commit(replace=True)
        assert read(store, stored.uri) == b"second"
        assert [found.name for found in store.objects()] == [name]
        store.delete(stored.uri)
        self.assert_empty(store)

    def test_undo(self, store: Store, name: str) -> None:
        with store.writer(name, size=None, attempt=attempt()) as writer:
            writer.write(memoryview(pattern(self.segment + 1)))
            writer.commit()
            writer.undo()
        self.assert_empty(store)

    def test_undo_spares_what_a_later_writer_put_there(self, store: Store, name: str) -> None:
        early = store.writer(name, size=None, attempt=attempt())
        early.write(memoryview(b"early"))
        early.commit()
        with store.writer(name, size=None, attempt=attempt()) as late:
            late.write(memoryview(b"late"))
            stored = late.commit(replace=True)
        early.undo()
        assert read(store, stored.uri) == b"late"

    def test_unfinished_writes_can_be_found_and_discarded(self, store: Store, name: str) -> None:
        token = attempt()
        killed = store.writer(name, size=None, attempt=token)
        killed.write(memoryview(pattern(self.segment + 1)))
        left = self.find_incomplete(store, token)
        assert left.name == name
        assert abs(datetime.now(UTC) - left.modified) < timedelta(minutes=5)
        self.end_process(killed)
        store.discard(left)
        store.discard(left)
        assert not list(store.incomplete())
        killed.abort()
        self.assert_empty(store)

    def test_objects_are_listed(self, store: Store) -> None:
        names = {str(uuid.uuid4()) for _ in range(5)}
        stored = {name: write(store, name, name.encode()) for name in names}
        found = {item.name: item for item in store.objects()}
        assert set(found) == names
        for name in names:
            assert found[name].stored.uri == stored[name].uri
            assert found[name].stored.size == 36
            assert abs(datetime.now(UTC) - found[name].modified) < timedelta(minutes=5)

    def test_a_missing_object(self, store: Store, name: str) -> None:
        stored = write(store, name, b"x")
        store.delete(stored.uri)
        assert store.find(name) is None
        assert not store.exists(stored.uri)
        for action in (store.size, store.delete, store.reader):
            with pytest.raises(ObjectMissing):
                action(stored.uri)

    def test_foreign_addresses(self, store: Store, name: str) -> None:
        stored = write(store, name, b"x")
        assert store.owns(stored.uri)
        for uri in self.foreign(stored.uri):
            assert not store.owns(uri), uri
            for action in (store.size, store.delete, store.reader):
                with pytest.raises(BadLocation):
                    action(uri)
        assert store.exists(stored.uri)

    def foreign(self, uri: str) -> list[str]:
        """Addresses the store must not follow; drivers add their own."""
        return ["", "x", "gopher://host/x", "file:///etc/passwd", "nothing:", uri + "/../x", uri.replace(":", "", 1)]

    def test_names_and_attempts_are_checked(self, store: Store, name: str) -> None:
        for bad in ("", "../x", "a/b", ".hidden", "a\0b", "x" * 300):
            with pytest.raises(ValueError):
                store.writer(bad, size=None, attempt=attempt())
        for bad in ("", "short", "with/slash/in/it", "dots.are.separators"):
            with pytest.raises(ValueError):
                store.writer(name, size=None, attempt=bad)
        self.assert_empty(store)

    def test_several_threads_at_once(self, store: Store) -> None:
        from concurrent.futures import ThreadPoolExecutor

        def one(seed: int) -> bool:
            data = pattern(self.segment + seed, seed)
            stored = write(store, str(uuid.uuid4()), data)
            return read(store, stored.uri) == data

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(one, range(8)))

    def test_it_says_what_it_is(self, store: Store) -> None:
        store.check()
        assert store.type
        assert store.schemes
        assert all(isinstance(key, str) for key in store.properties())
        room = store.space()
        assert room.free is None or room.total is None or 0 <= room.free <= room.total

    def test_a_read_only_store_takes_nothing(self, read_only: Store, name: str) -> None:
        assert not read_only.capabilities.writable
        with pytest.raises(WriteRefused):
            read_only.writer(name, size=1, attempt=attempt())

    def end_process(self, writer: Writer) -> None:
        """What the end of the writer's process would do by itself: nothing, for most back ends."""

    def find_incomplete(self, store: Store, token: str) -> IncompleteObject:
        (found,) = [item for item in store.incomplete() if item.attempt == token]
        return found

    def assert_empty(self, store: Store) -> None:
        assert list(store.objects()) == []
        assert list(store.incomplete()) == []
