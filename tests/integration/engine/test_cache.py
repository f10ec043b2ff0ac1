"""Garbage, damage, and caches taken elsewhere."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.engine.cache import archive as cache_archive
from pipeline.engine.cache import garbage
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.cache.verify import discard, verify
from pipeline.engine.keys.lock_file import LockFile
from pipeline.engine.plan import plan
from tests.integration.engine import light
from tests.integration.engine.conftest import Bench


def _objects(store: CacheStore) -> int:
    return sum(len(list(folder.iterdir())) for folder in (store.layers, store.products, store.documents))


def test_what_is_in_use_by_results_stays(bench: Bench) -> None:
    bench.build()
    before = _objects(bench.store)
    done = garbage.collect(bench.store)
    assert (done.outcomes, done.paths) == ([], [])
    assert _objects(bench.store) == before
    bench.ran()
    bench.build()
    assert bench.ran() == []


def test_what_nothing_refers_to_goes(bench: Bench) -> None:
    bench.build()
    next(bench.store.outcomes.glob("*.json"))
    for file in bench.store.outcomes.glob("*.json"):
        if '"unit": "boot"' in file.read_text():
            file.unlink()
    done = garbage.collect(bench.store)
    assert [path.parent.name for path in done.paths] == ["documents"]
    assert done.bytes > 0


def test_a_base_stays_as_long_as_something_stands_on_it(bench: Bench) -> None:
    bench.build()
    for file in bench.store.outcomes.glob("*.json"):
        if '"unit": "install"' in file.read_text():
            file.unlink()
    garbage.collect(bench.store)
    assert verify(bench.store) == []
    assert len(list(bench.store.layers.glob("*/disk.qcow2"))) == 2


def test_the_longest_unused_goes_first_and_tops_before_bases(bench: Bench) -> None:
    bench.build(light.recipe("old", disk={"size": "2MiB"}))
    past = time.time() - 1000
    for file in bench.store.outcomes.glob("*.json"):
        os.utime(file, (past, past))
    bench.build(light.recipe("new"))
    size = garbage.usage(bench.store)
    done = garbage.collect(bench.store, size.total - 1)
    assert done.outcomes[0].startswith("old/")
    assert not any(name.startswith("new/") for name in done.outcomes)
    assert "old/install" not in done.outcomes
    assert verify(bench.store) == []
    done = garbage.collect(bench.store, 0)
    assert {name.split("/")[0] for name in done.outcomes} == {"old", "new"}
    assert _objects(bench.store) == 0


def test_a_running_build_loses_nothing(bench: Bench, wait_until: Callable[..., None]) -> None:
    bench.steer("sleep.sign", "1.5")
    running = bench.start("one")
    wait_until(lambda: (bench.steering / "ran").exists() and "sign" in (bench.steering / "ran").read_text())
    done = garbage.collect(bench.store, 0)
    assert done.outcomes == []
    assert running.wait(30) == 0
    running.communicate()
    assert verify(bench.store) == []


def test_kept_disks_go_when_asked(bench: Bench) -> None:
    bench.steer("fail.customize", "broken")
    bench.build(keep=True)
    assert garbage.usage(bench.store).kept > 0
    garbage.collect(bench.store, 0)
    assert garbage.usage(bench.store).kept > 0
    assert verify(bench.store) == [], "what a kept disk stands on stays with it"
    garbage.collect(bench.store, also_kept=True)
    assert garbage.usage(bench.store).kept == 0


@pytest.mark.parametrize("where", ["layers/*/disk.qcow2", "products/*/image.raw", "documents/*"])
def test_damage_is_found_and_mended(bench: Bench, where: str) -> None:
    bench.build()
    bench.ran()
    victim = next(bench.store.root.glob(where))
    victim.chmod(0o600)
    with victim.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    damages = verify(bench.store)
    assert damages and "bytes have changed" in str(damages[0])
    discard(bench.store, damages)
    assert bench.build()[0].is_good
    assert bench.ran()
    assert [damage for damage in verify(bench.store) if "missing" not in damage.what] == []


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
    assert _objects(bench.store) == 0
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
    with pytest.raises(PipelineError, match=r"is not a cache that was exported: [^\n]*$"):
        cache_archive.import_archive(bench.store, tmp_path / "cache.tar")


def test_a_full_disk_is_not_the_files_fault(bench: Bench, small_disk: Callable[[int], Path]) -> None:
    bench.build()
    file = _exported(bench, "cache.tar")
    root = small_disk(512 << 10)
    other = Bench(bench.steering, Home(root, root / "cache"))
    with pytest.raises(OSError, match="No space left on device"):
        cache_archive.import_archive(other.store, file)
    assert other.leftovers() == []
