"""How much memory there is, with and without control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.host.system import memory

_MIB = 1 << 20
_STAT = "anon {anon}\nfile {cached}\n{prefix}inactive_file {half}\n{prefix}active_file {half}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with 8 GiB available; no group has a limit."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: {16 << 20} kB\nMemAvailable:   {8 << 20} kB\n")
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/\n1:cpu:/\n0::/\n")
    (tmp_path / "sys/fs/cgroup/memory").mkdir(parents=True)
    return tmp_path


def _limit(folder: Path, limit: str, *, programs: int, cached: int, version: int = 2) -> None:
    """Write what the kernel shows of a group: sizes in MiB."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes"), 2: ("memory.max", "memory.current")}[version]
    prefix = {1: "total_", 2: ""}[version]
    for name, text in zip(names, (limit, str((programs + cached) * _MIB)), strict=True):
        (folder / name).write_text(f"{text}\n")
    numbers = {"anon": programs * _MIB, "cached": cached * _MIB, "half": cached * _MIB // 2}
    (folder / "memory.stat").write_text(_STAT.format(prefix=prefix, **numbers))


def test_a_machine_without_limits(root: Path) -> None:
    assert memory.available(root) == 8 << 30
    _limit(root / "sys/fs/cgroup", "max", programs=100, cached=100)
    assert memory.available(root) == 8 << 30


@pytest.mark.parametrize("version", [1, 2])
def test_files_that_were_read_take_no_room_from_programs(root: Path, version: int) -> None:
    top = root / "sys/fs/cgroup" / ("memory" if version == 1 else "")
    _limit(top, str(2048 * _MIB), programs=500, cached=1500, version=version)
    assert memory.available(root) == 1548 * _MIB


@pytest.mark.parametrize(("service", "slice_", "left"), [("1024", "4096", 1014), ("4096", "1024", 1014)])
def test_the_lowest_limit_above_counts(root: Path, service: str, slice_: str, left: int) -> None:
    (root / "proc/self/cgroup").write_text("0::/system.slice/golden-images.service\n")
    folder = root / "sys/fs/cgroup/system.slice"
    _limit(folder, str(int(slice_) * _MIB), programs=10, cached=0)
    _limit(folder / "golden-images.service", str(int(service) * _MIB), programs=10, cached=0)
    assert memory.available(root) == left * _MIB


def test_a_group_beyond_its_limit_leaves_nothing(root: Path) -> None:
    _limit(root / "sys/fs/cgroup", str(10 * _MIB), programs=20, cached=0)
    assert memory.available(root) == 0


def test_a_group_that_a_container_does_not_show(root: Path) -> None:
    (root / "proc/self/cgroup").write_text("0::/docker/0123\n")
    _limit(root / "sys/fs/cgroup", str(100 * _MIB), programs=20, cached=0)
    assert memory.available(root) == 80 * _MIB


def test_a_kernel_without_groups_or_with_other_numbers(root: Path) -> None:
    _limit(root / "sys/fs/cgroup", str(100 * _MIB), programs=20, cached=0)
    (root / "sys/fs/cgroup/memory.stat").write_text("anon 1\n")
    assert memory.available(root) == 80 * _MIB
    (root / "proc/self/cgroup").unlink()
    assert memory.available(root) == 8 << 30


def test_this_machine() -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 64 * _MIB < memory.available() <= total
