"""The identity of objects: one for all spellings of an address that reach it, and never one for two."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.imageservice.stores.base import Store
from pipeline.imageservice.stores.errors import BadLocation, WriteRefused
from pipeline.imageservice.stores.file.options import FileOptions
from pipeline.imageservice.stores.file.store import FileStore
from pipeline.imageservice.stores.http.options import HttpOptions
from pipeline.imageservice.stores.http.store import HttpStore
from pipeline.imageservice.stores.rbd.options import RbdOptions
from pipeline.imageservice.stores.s3.endpoint import endpoint
from pipeline.imageservice.stores.s3.options import S3Options
from pipeline.imageservice.stores.s3.store import S3Store
from pipeline.imageservice.stores.swift.options import SwiftOptions
from pipeline.imageservice.stores.swift.store import SwiftStore
from tests.unit.imageservice.stores.contract import attempt

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}", fullmatch=True)
UUID = "11111111-2222-3333-4444-555555555555"


def s3(host: str, bucket: str = "images", **more: Any) -> S3Store:
    values = {"id": "a", "host": host, "bucket": bucket, "access_key": "k", "secret_key": "s", **more}
    return S3Store(S3Options.model_validate(values))


def swift(account: str, **more: Any) -> SwiftStore:
    values = {"id": "a", "auth_url": "http://keystone/v3", "user": "p:u", "key": "k", **more}
    store = SwiftStore(SwiftOptions.model_validate(values))
    store._access._account = account  # as the server told when it was asked
    return store


def _same(store: Store, first: str, second: str) -> bool:
    """Whether two addresses are taken for one object; ``False`` where the store does not follow one of them."""
    with contextlib.suppress(BadLocation):
        return store.identify(first) == store.identify(second)
    return False


@settings(max_examples=300, deadline=None)
@given(NAMES, NAMES, st.sampled_from(["s3", "s3+http", "s3+https"]), st.sampled_from(["", "/", "//"]), st.booleans())
def test_spellings_of_s3(one: str, other: str, scheme: str, slashes: str, credentials: bool) -> None:
    store = s3("http://store.example:7480")
    plain = f"s3://store.example:7480/images/{one}"
    odd = f"{scheme}://{'key:secret@' if credentials else ''}store.example:7480{slashes}/images/{other}"
    assert store.owns(odd)
    assert _same(store, plain, odd) is (one == other)
    assert store.identify(plain) == store.identities(one)[0] == store.identify(store.canonical(plain))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://store.example", "https://STORE.example:443/", True),
        ("http://store.example:80", "http://store.example.", True),
        ("http://[::1]:9000", "http://[0:0:0:0:0:0:0:1]:9000", True),
        ("https://s3.eu-west-1.amazonaws.com", "https://s3.amazonaws.com", True),
        ("https://bücher.example", "https://xn--bcher-kva.example", True),
        ("http://store.example:9000", "http://store.example:9001", False),
        ("http://store.example", "http://store.example:8080", False),
        ("http://store.example", "http://other.example", False),
        ("http://[::1]", "http://[::1]:1", False),
    ],
)
def test_servers_of_s3(one: str, other: str, same: bool) -> None:
    assert (endpoint(one) == endpoint(other)) is same
    assert (s3(one).identities("x") == s3(other).identities("x")) is same


def test_buckets_and_ids_of_stores() -> None:
    """Two stores configured with one bucket are one back end; two buckets are two."""
    host = "http://store.example"
    assert s3(host, id="a").identities(UUID) == s3(host, id="b", read_only=True).identities(UUID)
    assert s3(host, "one").identities(UUID) != s3(host, "two").identities(UUID)
    # No name of a bucket and of an object can be put together in two ways.
    assert s3(host, "one").identify("s3://store.example/one/two.x") != s3(host, "one.two").identities("x")[0]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    (tmp_path / "real").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    return tmp_path


def files(*directories: Path, **more: Any) -> FileStore:
    values = {"id": "a", "directories": [str(one) for one in directories], **more}
    return FileStore(FileOptions.model_validate(values))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NAMES, NAMES, st.sampled_from(["file", "filesystem"]), st.sampled_from(["", "/.", "//", "/./."]), st.booleans())
def test_spellings_of_files(folders: Path, one: str, other: str, scheme: str, dots: str, linked: bool) -> None:
    store = files(folders / "real", folders / "other", folders / "link")
    plain = f"file://{folders}/real/{one}"
    odd = f"{scheme}://{folders}/{'link' if linked else 'real'}{dots}/{other}"
    assert store.owns(odd)
    assert _same(store, plain, odd) is (one == other)
    assert not _same(store, plain, f"file://{folders}/other/{one}")


def test_a_link_is_the_folder_it_leads_to(folders: Path) -> None:
    real, link = files(folders / "real"), files(folders / "link", id="b")
    assert real.identities(UUID) == link.identities(UUID)
    assert real.identities(UUID) != files(folders / "other").identities(UUID)
    assert set(files(folders / "real", folders / "other").identities(UUID)) > set(real.identities(UUID))


def test_what_is_written_has_one_of_the_identities(folders: Path) -> None:
    store = files(folders / "real", folders / "other")
    with store.writer(UUID, size=1, attempt=attempt()) as writer:
        writer.write(memoryview(b"x"))
        stored = writer.commit()
    assert store.identify(stored.uri) in store.identities(UUID)


ACCOUNT = "AUTH_0123456789abcdef0123456789abcdef"


@settings(max_examples=200, deadline=None)
@given(
    NAMES, NAMES, st.sampled_from(["swift+config://ref1", "swift+http://p%3Au:k@keystone/v3", "swift://keystone/v3"])
)
def test_spellings_of_swift(one: str, other: str, start: str) -> None:
    store = swift(ACCOUNT)
    plain, odd = f"swift+config://ref1/glance/{one}", f"{start}/glance/{other}"
    assert store.owns(odd)
    assert _same(store, plain, odd) is (one == other)
    assert store.identities(one) == (store.identify(plain),)


def test_accounts_of_swift() -> None:
    first, second = swift(ACCOUNT), swift(ACCOUNT, id="b", reference="ref2", user="p:v", auth_url="https://other/v3")
    assert first.identities(UUID) == second.identities(UUID)
    assert first.identities(UUID) != swift("AUTH_ffffffffffffffffffffffffffffffff").identities(UUID)
    assert first.identities(UUID) != swift(ACCOUNT, container="x").identities(UUID)


FSID = "0f5c6c1e-8d1c-4f0e-9b57-6a2f3f7f7a11"


def ceph(pool: str = "images", fsid: str = FSID, **more: Any) -> Store:
    pytest.importorskip("rbd", reason="python3-rbd is not installed")
    from pipeline.imageservice.stores.rbd.store import RbdStore

    # The file of settings has to be there; it is not read.
    store = RbdStore(RbdOptions.model_validate({"id": "a", "pool": pool, "ceph_conf": __file__, **more}))
    store._cluster.known_fsid = fsid  # as the cluster told when it was asked
    return store


def _encoded(text: str, where: set[int]) -> str:
    """With some of its characters written as their numbers."""
    return "".join(f"%{ord(char):02x}" if at in where else char for at, char in enumerate(text))


@settings(max_examples=200, deadline=None)
@given(NAMES, NAMES, st.sampled_from(["snap", "other"]), st.sets(st.integers(0, 40)), st.booleans())
def test_spellings_of_ceph(one: str, other: str, snapshot: str, encoded: set[int], short: bool) -> None:
    """Whichever snapshot an address names, and however its parts are written: the image is deleted as a whole."""
    store = ceph()
    plain = f"rbd://{FSID}/images/{one}/snap"
    parts = [other] if short else [FSID, "images", other, snapshot]
    odd = f"rbd://{'/'.join(_encoded(part, encoded) for part in parts)}"
    assert _same(store, plain, odd) is (one == other)
    assert store.identities(one) == (store.identify(plain),)


def test_pools_and_clusters_of_ceph() -> None:
    """Whose users and configured ids differ is one pool all the same; two clusters, or two pools, are two."""
    assert ceph().identities(UUID) == ceph(id="b", user="other", read_only=True).identities(UUID)
    assert ceph().identities(UUID) == ceph(fsid=FSID.upper()).identities(UUID)
    assert ceph().identities(UUID) != ceph("other").identities(UUID)
    assert ceph().identities(UUID) != ceph(fsid=FSID.replace("0", "1")).identities(UUID)
    for address in (f"rbd://{FSID}/other/{UUID}/snap", f"rbd://{FSID}/images%2F{UUID}/snap", f"rbd://images%2f{UUID}"):
        with pytest.raises(BadLocation):
            ceph().identify(address)


@settings(max_examples=100, deadline=None)
@given(NAMES, st.sampled_from(["http", "https", "HTTP"]))
def test_the_web_is_nobodys(name: str, scheme: str) -> None:
    """Nothing of it is ever deleted or written, so that any number of images may stand on one file."""
    store = HttpStore(HttpOptions.model_validate({"id": "web"}))
    assert not store.capabilities.deletes and not store.capabilities.writable
    assert store.identities(name) == ()
    if store.owns(address := f"{scheme}://store.example/{name}"):
        with pytest.raises(WriteRefused):
            store.delete(address)


@pytest.mark.parametrize(
    ("name", "internal"),
    [
        (UUID, False),
        (f"{UUID}.7", False),
        (f"{UUID}.1234567", False),
        (f"{UUID}-00001", True),
        (f"{UUID}-{'a' * 32}.00001", True),
        (f"{UUID}.12345-{'a' * 32}.m0001", True),
        (f"{UUID}.3-00001", True),
        ("plain-00001", False),
    ],
)
def test_names_that_only_writers_make(name: str, internal: bool) -> None:
    """However many attempts an image has had, its objects are taken for no segments."""
    assert swift(ACCOUNT).is_internal(f"swift+config://ref1/glance/{name}") is internal
