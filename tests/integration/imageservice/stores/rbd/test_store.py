# ruff: noqa: E402
"""The Ceph store against a real cluster."""

from __future__ import annotations

import itertools
import signal
import struct
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.environments.fixtures import needed

# Before the driver, which cannot be imported without them.
rbd = needed("rbd", "python3-rbd")
rados = needed("rados", "python3-rados")

from pipeline.imageservice.stores.base import Store, Writer
from pipeline.imageservice.stores.errors import ObjectInUse
from pipeline.imageservice.stores.rbd.io import RbdWriter
from pipeline.imageservice.stores.rbd.options import RbdOptions
from pipeline.imageservice.stores.rbd.store import RbdStore
from tests.environments.ceph import POOL, Ceph
from tests.integration.imageservice.stores.faults import FaultContract, Site
from tests.unit.imageservice.stores.contract import StoreContract, attempt, pattern, read, write

pytestmark = pytest.mark.server

MIB = 1 << 20
_serial = itertools.count(1)


def options(ceph: Ceph, **more: object) -> RbdOptions:
    values = {"id": "ceph", "pool": POOL, "ceph_conf": ceph.glance_conf, "object_size": MIB}
    return RbdOptions.model_validate({**values, **more})


def clean(ceph: Ceph) -> None:
    """Remove every image, with its clones."""
    with rados.Rados(conffile=str(ceph.conf)) as cluster, cluster.open_ioctx(POOL) as pool:
        for name in sorted(rbd.RBD().list(pool), key=lambda name: not name.startswith("clone")):
            with rbd.Image(pool, name) as image:
                for snap in image.list_snaps():
                    if image.is_protected_snap(snap["name"]):
                        image.unprotect_snap(snap["name"])
                    image.remove_snap(snap["name"])
            rbd.RBD().remove(pool, name)


def end_process(writer: Writer) -> None:
    """A cluster notices that a process has ended, and lets go of the images it had open."""
    assert isinstance(writer, RbdWriter)
    writer._flights.drain()
    writer._image.close()


@pytest.fixture
def store(ceph: Ceph) -> Iterator[RbdStore]:
    made = RbdStore(options(ceph))
    made.check()
    yield made
    made.close()
    clean(ceph)


@pytest.fixture
def pool(ceph: Ceph) -> Iterator[Any]:
    with rados.Rados(conffile=str(ceph.conf)) as cluster, cluster.open_ioctx(POOL) as pool:
        yield pool


class TestContract(StoreContract):
    segment = MIB

    @pytest.fixture(params=["holes", "no holes"])
    def store(self, ceph: Ceph, request: pytest.FixtureRequest) -> Iterator[Store]:
        made = RbdStore(options(ceph, holes=request.param == "holes"))
        yield made
        made.close()
        clean(ceph)

    @pytest.fixture
    def read_only(self, ceph: Ceph) -> Store:
        return RbdStore(options(ceph, read_only=True))

    def end_process(self, writer: Writer) -> None:
        end_process(writer)

    def foreign(self, uri: str) -> list[str]:
        fsid, pool, name, snapshot = uri.removeprefix("rbd://").split("/")
        return [
            *super().foreign(uri),
            f"rbd://{fsid}/other/{name}/{snapshot}",
            f"rbd://{uuid.uuid4()}/{pool}/{name}/{snapshot}",
            f"rbd://{fsid}/{pool}/{name}",
            f"rbd://{fsid}/{pool}/{name}%40x/{snapshot}",
            f"rbd://{fsid}/{pool}//{snapshot}",
        ]


class TestFaults(FaultContract):
    @pytest.fixture
    def site(self, ceph_on_disk: Ceph) -> Iterator[Site]:
        made = RbdStore(options(ceph_on_disk, operation_timeout=2, connect_timeout=2))
        made.check()
        ended: list[signal.Signals] = []

        def end(number: signal.Signals) -> None:
            ended.append(number)
            ceph_on_disk.signal_osd(number)

        def mend() -> None:
            for number in (ended.pop() for _ in range(len(ended))):
                if number is signal.SIGSTOP:
                    ceph_on_disk.signal_osd(signal.SIGCONT)
                else:
                    ceph_on_disk.start_osd()

        yield Site(made, lambda: end(signal.SIGKILL), lambda: end(signal.SIGSTOP), mend, timeout=30)
        mend()
        made.close()
        clean(ceph_on_disk)

    @pytest.fixture
    def stranger(self, ceph: Ceph) -> Store:
        keyring = ceph.folder / "stranger.keyring"
        keyring.write_text("[client.glance]\nkey = AQBxxXZlAAAAABAAWo7s4gzGqfXvSdFoF8J8Sw==\n")
        conf = ceph.folder / "stranger.conf"
        conf.write_text(ceph.conf.read_text().replace(f"{ceph.folder}/keyring", str(keyring)))
        return RbdStore(options(ceph, ceph_conf=conf, connect_timeout=3))

    def location(self, store: Store, name: str) -> str:
        return f"rbd://{name}"


def test_addresses_and_snapshots_are_those_of_glance_store(store: RbdStore, ceph: Ceph, pool: Any) -> None:
    name = str(uuid.uuid4())
    stored = write(store, name, pattern(3 * MIB))
    assert stored.uri == f"rbd://{ceph.fsid}/{POOL}/{name}/snap"
    with rbd.Image(pool, name) as image:
        assert image.is_protected_snap("snap")
        assert image.stat()["order"] == 20
    assert read(store, f"rbd://{name}") == pattern(3 * MIB)


def test_an_image_with_clones_is_in_use(store: RbdStore, pool: Any) -> None:
    name = str(uuid.uuid4())
    stored = write(store, name, pattern(MIB))
    rbd.RBD().clone(pool, name, "snap", pool, f"clone-{name}")
    with pytest.raises(ObjectInUse):
        store.delete(stored.uri)
    assert read(store, stored.uri) == pattern(MIB)
    with rbd.Image(pool, name) as image:
        assert image.is_protected_snap("snap")
    rbd.RBD().remove(pool, f"clone-{name}")
    store.delete(stored.uri)
    assert not store.exists(stored.uri)


def test_an_image_that_is_open_elsewhere_stays_whole(store: RbdStore, pool: Any) -> None:
    name = str(uuid.uuid4())
    stored = write(store, name, pattern(MIB))
    with rbd.Image(pool, name), pytest.raises(ObjectInUse):
        store.delete(stored.uri)
    assert read(store, stored.uri) == pattern(MIB)
    store.delete(stored.uri)


def test_holes_take_no_room(store: RbdStore, pool: Any) -> None:
    name = str(uuid.uuid4())
    write(store, name, pattern(2 * MIB) + bytes(64 * MIB) + pattern(MIB))
    extents: list[tuple[int, int]] = []
    with rbd.Image(pool, name, read_only=True) as image:
        image.diff_iterate(0, image.size(), None, lambda offset, length, exists: extents.append((offset, length)))
    assert sum(length for _, length in extents) == 3 * MIB


def test_volumes_beside_the_images_are_left_alone(store: RbdStore, pool: Any) -> None:
    rbd.RBD().create(pool, "volume-1", MIB)
    assert list(store.objects()) == []
    assert list(store.incomplete()) == []
    assert store.find("volume-1") is None


def test_a_renaming_that_was_cut_off(store: RbdStore, pool: Any) -> None:
    """The new name exists already, the directory still lists the old one: as a kill in its middle leaves it."""
    name = str(uuid.uuid4())
    killed = store.writer(name, size=None, attempt=attempt())
    killed.write(memoryview(pattern(MIB)))
    (left,) = store.incomplete()
    with rbd.Image(pool, left.key, read_only=True) as image:
        identity = image.id().encode()
    pool.write_full(f"rbd_id.{name}", struct.pack("<I", len(identity)) + identity)
    end_process(killed)
    store.discard(left)
    assert list(store.incomplete()) == []
    assert read(store, write(store, name, b"again").uri) == b"again"
