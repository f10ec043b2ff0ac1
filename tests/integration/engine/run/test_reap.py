"""A real one of everything that a run may leave: what a dead owner had goes, what a living one has stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.base import atomic
from pipeline.base.home import Home
from pipeline.base.owner import Owner
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.run.reap import reap, temporary_folder
from pipeline.engine.run.worker import OWNER
from pipeline.host.install import libvirt, libvirt_cleanup
from pipeline.host.system import process

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")


@pytest.fixture(scope="module")
def dead() -> str:
    """The mark of a process that is no more."""
    say = "from pipeline.base.owner import Owner; print(Owner.current().mark)"
    mark = subprocess.run([sys.executable, "-c", say], capture_output=True, text=True, check=True).stdout.strip()
    owner = Owner.find(mark)
    assert owner is not None and not owner.is_alive()
    return mark


@pytest.fixture
def living() -> str:
    return Owner.current().mark


@pytest.fixture
def reaped(home: Home) -> Callable[[], set[str]]:
    """Reaps and says what. Other runs on this machine reap, too: what they were first with is not in it."""
    store = CacheStore.open(home.cache)
    return lambda: set(reap(home, store))


@pytest.fixture
def clean() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@needs_root
def test_mounts(reaped: Callable[[], set[str]], tmp_path: Path, dead: str, living: str, clean: ExitStack) -> None:
    places = {}
    for name, mark in (("dead", dead), ("living", living)):
        # Blanks are written as octal numbers in the kernel's table.
        places[name] = tmp_path / f"a mount.{mark}"
        places[name].mkdir()
        process.run(["mount", "-t", "tmpfs", "tmpfs", places[name]])
        clean.callback(process.run, ["umount", "--lazy", places[name]], check=False)
        (places[name] / "below").mkdir()
        process.run(["mount", "-t", "tmpfs", "tmpfs", places[name] / "below"])
        clean.callback(process.run, ["umount", "--lazy", places[name] / "below"], check=False)
    said = {line for line in reaped() if str(tmp_path) in line}
    assert said <= {f"unmounted {places['dead']}/below", f"unmounted {places['dead']}"}
    mounted = Path("/proc/self/mountinfo").read_text()
    assert dead not in mounted
    assert mounted.count(places["living"].name.replace(" ", r"\040")) == 2


@needs_root
def test_loop_devices(reaped: Callable[[], set[str]], tmp_path: Path, dead: str, living: str, clean: ExitStack) -> None:
    devices = {}
    for name, mark in (("dead", dead), ("living", living)):
        file = tmp_path / f"disk.{mark}.raw"
        with file.open("wb") as opened:
            opened.truncate(1 << 20)
        found = process.run(["losetup", "--find", "--show", file], check=False)
        if found.status != 0:
            pytest.skip(f"this machine gives no loop devices: {found.stderr.strip()}")
        devices[name] = found.stdout.strip()
        clean.callback(process.run, ["losetup", "--detach", devices[name]], check=False)
    said = {line for line in reaped() if str(tmp_path) in line}
    assert said <= {f"detached {devices['dead']} ({tmp_path}/disk.{dead}.raw)"}
    left = process.run(["losetup", "--list", "--noheadings", "--output", "BACK-FILE"]).stdout
    assert str(tmp_path) in left and dead not in left


def test_temporary_folders_and_half_made_files(
    reaped: Callable[[], set[str]], home: Home, dead: str, living: str, clean: ExitStack
) -> None:
    store = CacheStore.open(home.cache)
    made = {}
    for mark in (dead, living):
        folder = temporary_folder(f"{mark}.7")
        folder.mkdir()
        clean.callback(shutil.rmtree, folder, ignore_errors=True)
        layer = store.layers / f".partial.{mark}.1.tiny"
        layer.mkdir()
        made[mark] = [folder, layer]
        for location in (home.root, home.root / "publishing" / "inventories", home.service):
            location.mkdir(parents=True, exist_ok=True)
            made[mark].append(location / f".partial.{mark}.2.json")
            made[mark][-1].touch()
        clean.callback(layer.rmdir) if mark == living else None
    said = reaped()
    assert [path.exists() for path in made[dead]] == [False] * 5
    assert [path.exists() for path in made[living]] == [True] * 5
    assert {f"removed {path}" for path in made[dead][1:]} <= said, "nobody else looks into this home"
    assert atomic.sweep(store.layers) == []


def test_processes(reaped: Callable[[], set[str]], dead: str, living: str, clean: ExitStack) -> None:
    left = {}
    for mark in (dead, living):
        # In a session of its own, as daemons and guests are.
        child = subprocess.Popen(["sleep", "97.31"], env={**os.environ, OWNER: f"{mark}.3"}, start_new_session=True)
        clean.callback(child.wait)
        clean.callback(child.kill)
        left[mark] = child
    said = {line for line in reaped() if "97.31" in line}
    assert said <= {f"ended process {left[dead].pid} (sleep 97.31)"}
    left[dead].wait(10)  # its status may have gone to the reaper already
    assert left[living].poll() is None


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("libvirtd") is None, reason="needs libvirtd")
def test_guests_volumes_and_pools_of_libvirt(
    tmp_path: Path, dead: str, living: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The names of sockets must be short, and that of a guest is part of them.
    monkeypatch.setattr(libvirt, "_TEMPORARY", "p-")
    with (tmp_path / "log").open("wb") as log, libvirt.session(log, "tcg") as daemon:
        pools = daemon.folder / "pools"
        for mark in (dead, living):
            for kind in ("running", "defined"):
                file = daemon.folder / f"{kind}.xml"
                file.write_text(
                    f"<domain type='qemu'><name>{kind}.{mark}</name><memory>65536</memory>"
                    "<os><type>hvm</type></os></domain>"
                )
                daemon.give(file)
                daemon.virsh("create" if kind == "running" else "define", str(file))
            for pool in ("ours", f"pool.{mark}"):
                folder = pools / pool
                daemon.run("mkdir", "-p", str(folder))
                daemon.virsh("pool-create-as", pool, "dir", "--target", str(folder), check=False)
            daemon.virsh("vol-create-as", "ours", f"disk.{mark}.qcow2", "1M", "--format", "qcow2")
        daemon.virsh("vol-create-as", "ours", "somebody-elses.qcow2", "1M", "--format", "qcow2")
        said = sorted(libvirt_cleanup.remove(daemon.virsh, lambda text: dead in text))
        assert said == [
            f"removed the guest defined.{dead} from libvirt",
            f"removed the guest running.{dead} from libvirt",
            f"removed the storage pool pool.{dead} from libvirt",
            f"removed the volume disk.{dead}.qcow2 from libvirt's pool ours",
        ]
        assert sorted(daemon.virsh("list", "--all", "--name").stdout.split()) == [
            f"defined.{living}",
            f"running.{living}",
        ]
        assert {path.name for path in pools.glob("*/*")} == {f"disk.{living}.qcow2", "somebody-elses.qcow2"}
        assert daemon.virsh("pool-list", "--name").stdout.split() == ["ours", f"pool.{living}"]
        assert list(libvirt_cleanup.remove(daemon.virsh, lambda text: dead in text)) == []
        daemon.virsh("destroy", f"running.{living}")
