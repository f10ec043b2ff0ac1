"""What every store must do when its back end misbehaves. A driver's test module derives from ``FaultContract``.

``site`` gives a store whose back end can be made to die, to fall silent and to work again.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest

from pipeline.imageservice.stores.base import Store
from pipeline.imageservice.stores.base_options import StoreSecret
from pipeline.imageservice.stores.errors import ObjectInUse, StoreDamaged, StoreUnavailable, WriteRefused
from tests.environments.daemon import wait_until
from tests.unit.imageservice.stores.contract import attempt, pattern, read, write

MIB = 1 << 20
DOWN = (StoreUnavailable, WriteRefused)


@dataclass(frozen=True)
class Site:
    """A store with a back end that obeys. ``timeout``: seconds after which the store gives up a silent one."""

    store: Store
    die: Callable[[], None]
    fall_silent: Callable[[], None]
    mend: Callable[[], None]
    timeout: float


def failure(action: Callable[[], object], seconds: float) -> BaseException | None:
    """What ``action`` fails with. Raises ``TimeoutError`` while the back end is as it is when it goes on for longer."""
    ended: Future[object] = Future()

    def attempt() -> None:
        try:
            ended.set_result(action())
        except BaseException as error:
            ended.set_exception(error)

    threading.Thread(target=attempt, daemon=True).start()
    return ended.exception(timeout=seconds)


def is_up(store: Store) -> bool:
    try:
        store.check()
    except DOWN:
        return False
    return True


class FaultContract:
    size = 24 * MIB  # of an object that takes several pieces

    @pytest.fixture
    def name(self) -> str:
        return str(uuid.uuid4())

    def test_wrong_credentials(self, stranger: Store, name: str) -> None:
        uri = self.location(stranger, name)
        for action in (stranger.check, lambda: stranger.size(uri), lambda: stranger.reader(uri)):
            with pytest.raises(DOWN) as caught:
                action()
            assert "secret" not in f"{caught.value} {caught.value.detail}".lower()
        with pytest.raises(DOWN):
            write(stranger, name, b"x")

    def location(self, store: Store, name: str) -> str:
        """An address in the store, as its writers would give it."""
        raise NotImplementedError

    def test_death_in_the_middle_of_a_write(self, site: Site, name: str) -> None:
        writer = site.store.writer(name, size=None, attempt=attempt())
        with pytest.raises(DOWN):
            for number in range(self.size // MIB):
                if number == 8:
                    site.die()
                writer.write(memoryview(pattern(MIB, number)))
            writer.commit()
        writer.abort()
        self.mend(site)
        self.settle(site.store, name)
        data = pattern(self.size)
        stored = write(site.store, name, data)
        assert read(site.store, stored.uri) == data

    def mend(self, site: Site) -> None:
        """The back end works again; the store finds that out by itself."""
        site.mend()
        wait_until(lambda: is_up(site.store), "the store is back", pause=0.5)

    def settle(self, store: Store, name: str) -> None:
        """What an abort could not reach can be found and removed when the back end is back.

        Others may have left images in it, which are none of ours.
        """
        deadline = time.monotonic() + 60
        while True:
            try:
                for left in list(store.incomplete()):
                    store.discard(left)
                assert list(store.incomplete()) == []
                assert name not in [found.name for found in store.objects()]
                return
            except (StoreUnavailable, ObjectInUse):  # a cluster lets go of a dead writer after half a minute
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def test_death_in_the_middle_of_a_read(self, site: Site, name: str) -> None:
        data = pattern(self.size)
        stored = write(site.store, name, data)
        with site.store.reader(stored.uri) as reader:
            got = bytearray(reader.read(MIB))
            site.die()
            with pytest.raises((StoreUnavailable, StoreDamaged)):
                while piece := reader.read(MIB):
                    got += piece
        assert data.startswith(got)
        self.mend(site)
        assert read(site.store, stored.uri) == data

    def test_a_silent_back_end_is_given_up(self, site: Site, name: str) -> None:
        data = pattern(self.size)
        stored = write(site.store, name, data)
        reader = site.store.reader(stored.uri)
        reader.read(1000)
        site.fall_silent()
        for action in (
            lambda: site.store.size(stored.uri),
            lambda: [reader.read(MIB) for _ in range(100)],
            lambda: write(site.store, f"{name}-2", data),
        ):
            assert isinstance(failure(action, site.timeout), DOWN)
        reader.close()
        self.mend(site)
        assert read(site.store, stored.uri) == data
        site.store.check()

    def test_a_slow_back_end_is_waited_for(self, site: Site, name: str) -> None:
        """One that is silent half of the time, but never for as long as a store is patient."""
        data, over = pattern(self.size), threading.Event()

        def stutter() -> None:
            while not over.wait(0.3):
                site.fall_silent()
                time.sleep(0.3)
                site.mend()

        slowing = threading.Thread(target=stutter)
        slowing.start()
        try:
            stored = write(site.store, name, data)
            assert read(site.store, stored.uri) == data
        finally:
            over.set()
            slowing.join()
            site.mend()

    def test_no_secret_is_logged(self, store: Store, name: str, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        store.close()
        stored = write(store, name, b"data")
        assert read(store, stored.uri) == b"data"
        store.delete(stored.uri)
        said = caplog.text + stored.uri + repr(store.properties())
        assert not [secret for secret in self.secrets(store) if secret in said]

    def secrets(self, store: Store) -> list[str]:
        """What must not be seen anywhere."""
        options: Any = getattr(store, "options", None)
        values = [value for _, value in options] if options is not None else []
        return [value.read() for value in values if isinstance(value, StoreSecret)]

    def test_a_dead_back_end_is_told_at_once(self, site: Site, name: str) -> None:
        stored = write(site.store, name, b"x")
        site.die()
        for action in (site.store.check, lambda: site.store.size(stored.uri), lambda: write(site.store, "x", b"x")):
            assert isinstance(failure(action, site.timeout), DOWN)
        self.mend(site)
        assert read(site.store, stored.uri) == b"x"
