"""Take a cache elsewhere."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.engine.cache import archive as cache_archive
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.cache.verify import verify
from pipeline.engine.keys.lock_file import LockFile
from pipeline.engine.plan import plan
from tests.integration.engine import light
from tests.integration.engine.conftest import Bench


def _exported(bench: Bench, name: str) -> Path:
    keys = plan.cached_keys(
        light.recipe(), light.steps(bench.steering), bench.store, LockFile(bench.home.root, "light")
    )
    file = bench.home.root / name
    assert cache_archive.export_archive(bench.store, keys, file) == 5
    return file


@pytest.mark.parametrize("name", ["cache.tar", "cache.tar.gz"])
def test_an_exported_cache_serves_elsewhere(bench: Bench, tmp_path: Path, name: str) -> None:
    bench.build()
    file = _exported(bench, name)
    assert file.stat().st_mode & 0o777 == 0o600, "installed disks are in it"
    other = Bench(bench.steering, Home(tmp_path / "other", tmp_path / "other" / "cache"))
    assert cache_archive.import_archive(other.store, file) == 5
    assert verify(other.store) == []
    assert {folder.stat().st_mode & 0o777 for folder in other.store.layers.iterdir()} == {0o700}
    bench.ran()
    (result,) = other.build()
    assert result.is_good and not result.changed
    assert bench.ran() == []
    assert other.leftovers() == []


def test_holes_stay_holes(bench: Bench, tmp_path: Path) -> None:
    bench.build(light.recipe(disk={"size": "64MiB"}, products=[{"format": "raw"}]))
    recipe = light.recipe(disk={"size": "64MiB"}, products=[{"format": "raw"}])
    keys = plan.cached_keys(recipe, light.steps(bench.steering), bench.store, LockFile(bench.home.root, "light"))
    cache_archive.export_archive(bench.store, keys, tmp_path / "cache.tar")
    assert (tmp_path / "cache.tar").stat().st_size < 4 << 20
    store = CacheStore.open(tmp_path / "elsewhere")
    cache_archive.import_archive(store, tmp_path / "cache.tar")
    raw = next(store.products.glob("*/image.raw")).stat()
    assert raw.st_size == 64 << 20
    assert raw.st_blocks * 512 < 4 << 20


def test_export_of_nothing_is_an_error(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="nothing in the cache to export"):
        cache_archive.export_archive(bench.store, [], tmp_path / "cache.tar")


def _tar(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("../evil", b"x")], "'../evil', which does not belong there"),
        ([("/etc/passwd", b"x")], "which does not belong there"),
        ([(f"outcomes/{'0' * 64}.json", b"[" * 100_000)], "cannot be read"),
        ([(f"outcomes/{'0' * 64}.json", b'{"key": ' * 100_000)], "cannot be read"),
        ([(f"documents/{'0' * 64}", b"x")], "has other bytes than its name says"),
        ([(f"layers/{'0' * 64}/disk.qcow2", b"x")], "has other bytes than its name says"),
        ([(f"layers/{'0' * 64}/../../evil", b"x")], "which does not belong there"),
        ([(f"outcomes/{'0' * 64}.json", b"{")], "cannot be read"),
        ([("FORMAT", b"7\n")], "has format '7'"),
        ([(f"documents/{'0' * 64}", b"x")] * 2, "which does not belong there"),
    ],
)
def test_a_hostile_cache_is_refused(
    bench: Bench, tmp_path: Path, members: list[tuple[str, bytes]], reason: str
) -> None:
    file = _tar(tmp_path / "cache.tar", *members)
    with pytest.raises(PipelineError) as caught:
        cache_archive.import_archive(bench.store, file)
    assert reason in str(caught.value)
    assert bench.objects() == 0
    assert not (tmp_path / "evil").exists()


def test_links_in_a_cache_are_refused(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "cache.tar"
    with tarfile.open(file, "w") as archive:
        info = tarfile.TarInfo(f"documents/{'0' * 64}")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(PipelineError, match="does not belong there"):
        cache_archive.import_archive(bench.store, file)


def test_something_else_is_no_cache(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "cache.tar").write_bytes(os.urandom(4096))
    with pytest.raises(PipelineError, match=r"is not a cache that was exported: [^\n]*\nhint: export it again"):
        cache_archive.import_archive(bench.store, tmp_path / "cache.tar")


def test_a_full_disk_is_not_the_files_fault(bench: Bench, small_disk: Callable[[int], Path]) -> None:
    bench.build()
    file = _exported(bench, "cache.tar")
    root = small_disk(512 << 10)
    other = Bench(bench.steering, Home(root, root / "cache"))
    with pytest.raises(OSError, match="No space left on device"):
        cache_archive.import_archive(other.store, file)
    assert other.leftovers() == []
