"""The S3 store against real servers: Ceph's gateway and Swift's S3 API."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from pipeline.imageservice.stores.base import Store
from pipeline.imageservice.stores.s3.options import S3Options
from pipeline.imageservice.stores.s3.store import S3Store
from tests.environments.ceph import ACCESS_KEY, SECRET_KEY
from tests.environments.relay import relay
from tests.environments.swift import KEY, USER
from tests.integration.imageservice.stores.faults import FaultContract, Site
from tests.unit.imageservice.stores.contract import StoreContract

pytestmark = pytest.mark.server

MIB = 1 << 20
SERVERS = {"radosgw": ("gateway", ACCESS_KEY, SECRET_KEY), "swift": ("swift", USER, KEY)}
_serial = itertools.count(1)


def options(request: pytest.FixtureRequest, server: str, **more: object) -> S3Options:
    fixture, access, secret = SERVERS[server]
    found = request.getfixturevalue(fixture)
    host = found if isinstance(found, str) else found.url
    values = {"host": host, "access_key": access, "secret_key": secret, "part_size": 5 * MIB}
    return S3Options.model_validate(
        {"id": "objects", "bucket": f"bucket-{next(_serial)}", "create_bucket": True, **values, **more}
    )


@pytest.fixture(params=["radosgw", "swift"])
def store(request: pytest.FixtureRequest) -> Iterator[S3Store]:
    made = S3Store(options(request, request.param))
    made.check()
    yield made
    made.close()


class TestContract(StoreContract):
    segment = 5 * MIB

    @pytest.fixture
    def read_only(self, request: pytest.FixtureRequest) -> Store:
        return S3Store(options(request, "radosgw", read_only=True))


class TestFaults(FaultContract):
    def location(self, store: Store, name: str) -> str:
        assert isinstance(store, S3Store)
        host = store.options.host.removeprefix("http://")
        return f"s3://{host}/{store.options.bucket}/{name}"

    def secrets(self, store: Store) -> list[str]:
        """Not the access key, which is a name that goes with every request, as the library tells when asked."""
        assert isinstance(store, S3Store)
        return [store.options.secret_key.read()]

    @pytest.fixture
    def stranger(self, request: pytest.FixtureRequest, store: S3Store) -> Store:
        server = request.node.callspec.params["store"]
        return S3Store(options(request, server, secret_key="not-the-secret", bucket=store.options.bucket))

    @pytest.fixture
    def site(self, request: pytest.FixtureRequest, store: S3Store) -> Iterator[Site]:
        server, bucket = request.node.callspec.params["store"], store.options.bucket
        with relay(store.options.host) as between:
            impatient = {"connect_timeout": 1, "read_timeout": 1, "attempts": 2}
            made = S3Store(options(request, server, host=between.url, bucket=bucket, **impatient))
            made.check()
            yield Site(made, between.die, between.fall_silent, between.mend, timeout=20)
            made.close()
