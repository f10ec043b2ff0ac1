"""The Swift store against a real Swift, logged in by tempauth and by Keystone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from pipeline.imageservice.stores.base import IncompleteObject, Store
from pipeline.imageservice.stores.swift.options import SwiftOptions
from pipeline.imageservice.stores.swift.store import SwiftStore
from tests.environments.daemon import wait_until
from tests.environments.keystone import PASSWORD, Keystone
from tests.environments.relay import relay
from tests.environments.swift import KEY, USER, Swift
from tests.integration.imageservice.stores.faults import FaultContract, Site
from tests.unit.imageservice.stores.contract import StoreContract

pytestmark = pytest.mark.server

MIB = 1 << 20
_serial = itertools.count(1)


def tempauth(swift: Swift, **more: object) -> SwiftOptions:
    values = {"auth_url": swift.tempauth, "auth_version": "1", "user": USER, "key": KEY, "segment_size": MIB}
    container = f"images-{next(_serial)}"
    return SwiftOptions.model_validate(
        {"id": "objects", "container": container, "create_container": True, **values, **more}
    )


@pytest.fixture(params=["tempauth", "keystone"])
def store(request: pytest.FixtureRequest, swift: Swift, keystone: Keystone) -> Iterator[SwiftStore]:
    if request.param == "tempauth":
        made = SwiftStore(tempauth(swift))
    else:
        login = {"auth_url": keystone.url, "auth_version": "3", "user": "service:glance", "key": PASSWORD}
        made = SwiftStore(tempauth(swift, **login))
    made.check()
    yield made
    made.close()


class TestContract(StoreContract):
    segment = MIB

    @pytest.fixture
    def read_only(self, swift: Swift) -> Store:
        return SwiftStore(tempauth(swift, read_only=True))

    def find_incomplete(self, store: Store, token: str) -> IncompleteObject:
        """The segment is on its way in a thread of the writer's."""
        wait_until(lambda: any(item.attempt == token for item in store.incomplete()), "the segment is there")
        return super().find_incomplete(store, token)


class TestFaults(FaultContract):
    def location(self, store: Store, name: str) -> str:
        assert isinstance(store, SwiftStore)
        return f"swift+config://ref1/{store.options.container}/{name}"

    @pytest.fixture
    def stranger(self, store: SwiftStore) -> Store:
        changed = store.options.model_dump() | {"key": "not-the-secret"}
        return SwiftStore(SwiftOptions.model_validate(changed))

    @pytest.fixture
    def site(self, swift: Swift) -> Iterator[Site]:
        with relay(swift.url) as between:
            made = SwiftStore(
                tempauth(Swift(between.url), connect_timeout=1, read_timeout=1, attempts=2, segment_size=4 * MIB)
            )
            made.check()
            yield Site(made, between.die, between.fall_silent, between.mend, timeout=20)
            made.close()
