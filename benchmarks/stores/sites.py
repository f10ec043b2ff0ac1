"""A back end with both programs' store on it, for one measurement."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.imageservice.data.buffers import Buffers
from pipeline.imageservice.stores.base import DriverContext, Store
from pipeline.imageservice.stores.file.options import FileOptions
from pipeline.imageservice.stores.options import AnyStoreOptions
from pipeline.imageservice.stores.rbd.options import RbdOptions
from pipeline.imageservice.stores.registry import make_store
from pipeline.imageservice.stores.s3.options import S3Options
from pipeline.imageservice.stores.swift.options import SwiftOptions
from tests.environments import other_stores
from tests.environments.ceph import ACCESS_KEY, SECRET_KEY, ceph, gateway
from tests.environments.keystone import Keystone, keystone
from tests.environments.other_stores import OtherStore, glance_store
from tests.environments.relay import relay
from tests.environments.swift import swift

RATE = 30 << 20  # bytes a second of one connection behind the relay


@dataclass(frozen=True)
class Site:
    """``ours`` and ``theirs`` on one back end. ``tell_size``: whether theirs is told an image's length."""

    ours: Store
    theirs: OtherStore
    buffers: Buffers
    tell_size: bool = True


@contextlib.contextmanager
def _site(options: AnyStoreOptions, settings: Mapping[str, object], *, tell_size: bool = True) -> Iterator[Site]:
    buffers = Buffers()
    ours = make_store(options, DriverContext(buffers, share=buffers.limit // 2))
    ours.check()
    with glance_store(options.type, settings) as theirs:
        yield Site(ours, theirs, buffers, tell_size)
    ours.close()


@contextlib.contextmanager
def files(folder: Path) -> Iterator[Site]:
    """Two folders of one file system."""
    for name in ("ours", "theirs"):
        (folder / name).mkdir()
    options = FileOptions.model_validate({"id": "file", "directories": [folder / "ours"]})
    with _site(options, {"filesystem_store_datadir": folder / "theirs"}) as site:
        yield site


@contextlib.contextmanager
def objects(folder: Path) -> Iterator[Site]:
    """Provide a bucket of Ceph's S3 gateway, which keeps its data on disk; both with their own sizes of parts."""
    with ceph(memory=False) as cluster, gateway(cluster) as url:
        keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        location = {"id": "s3", "host": url, "bucket": "images", "create_bucket": True}
        settings = other_stores.s3_settings(url, "images")
        sizes = ("s3_store_large_object_size", "s3_store_large_object_chunk_size")
        with _site(
            S3Options.model_validate({**location, **keys}),
            {name: value for name, value in settings.items() if name not in sizes},
        ) as site:
            yield site


@contextlib.contextmanager
def swift_loopback(folder: Path) -> Iterator[Site]:
    """Provide a container of Swift, whose processes share the cores with both programs."""
    with contextlib.ExitStack() as stack:
        identity = stack.enter_context(keystone())
        server = stack.enter_context(swift(identity))
        yield stack.enter_context(_swift(folder, identity, account_url(identity, server.url)))


@contextlib.contextmanager
def swift_relayed(folder: Path) -> Iterator[Site]:
    """Provide the same behind a line that lets each connection have 30 MiB a second."""
    with contextlib.ExitStack() as stack:
        identity = stack.enter_context(keystone())
        server = stack.enter_context(swift(identity))
        line = stack.enter_context(relay(server.url, RATE))
        yield stack.enter_context(_swift(folder, identity, account_url(identity, line.url)))


def account_url(identity: Keystone, url: str) -> str:
    """Return the address of the account that images belong to."""
    project = identity.connect("glance").current_project_id
    return f"{url}/v1/KEY_{project}"


@contextlib.contextmanager
def _swift(folder: Path, identity: Keystone, endpoint: str) -> Iterator[Site]:
    reference = other_stores.swift_reference(folder, identity)
    location = {"id": "swift", "reference_file": str(reference), "create_container": True, "endpoint": endpoint}
    theirs = {
        "swift_store_config_file": reference,
        "default_swift_reference": "ref1",
        "swift_store_container": "glance",
        "swift_store_endpoint": endpoint,
        # Their own 5 GB and 200 MB would leave nothing to compare: one PUT without a segment.
        "swift_store_large_object_size": 64,
        "swift_store_large_object_chunk_size": 64,
    }
    # Told a length above the size of a segment, theirs fails, unless it is a multiple of it.
    with _site(SwiftOptions.model_validate(location), theirs, tell_size=False) as site:
        yield site


@contextlib.contextmanager
def blocks(folder: Path, *, memory: bool = False) -> Iterator[Site]:
    """Provide a pool of a Ceph cluster; ``memory``: one that keeps its data there."""
    with ceph(memory=memory) as cluster:
        options = RbdOptions.model_validate({"id": "rbd", "ceph_conf": cluster.glance_conf})
        with _site(options, other_stores.rbd_settings(cluster)) as site:
            yield site


@contextlib.contextmanager
def blocks_in_memory(folder: Path) -> Iterator[Site]:
    """See ``blocks``."""
    with blocks(folder, memory=True) as site:
        yield site


SITES: Mapping[str, Callable[[Path], contextlib.AbstractContextManager[Site]]] = {
    "file": files,
    "s3": objects,
    "swift": swift_loopback,
    "swift-relayed": swift_relayed,
    "rbd": blocks,
    "rbd-in-memory": blocks_in_memory,
}
