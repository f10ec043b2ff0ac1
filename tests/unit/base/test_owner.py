from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.owner import Owner
from pipeline.host.system import process


def test_a_mark_is_found_in_a_name() -> None:
    owner = Owner.current()
    assert Owner.find(f".partial.{owner.mark}.7.disk.qcow2") == owner
    assert Owner.find("disk.qcow2") is None


@given(pid=st.integers(1, 2**22), start=st.integers(0, 2**63), boot=st.integers(0, 2**32 - 1))
def test_every_mark_reads_back(pid: int, start: int, boot: int) -> None:
    owner = Owner(pid, start, f"{boot:08x}")
    assert Owner.find(f"x.{owner.mark}.y") == owner


def test_we_are_alive() -> None:
    assert Owner.current().is_alive()


@pytest.mark.parametrize("change", [{"start": 1}, {"boot": "00000000"}, {"pid": 2**22 + 1}])
def test_a_process_that_only_looks_like_the_owner_is_not_it(change: dict[str, int | str]) -> None:
    assert not replace(Owner.current(), **change).is_alive()  # type: ignore[arg-type]


@pytest.mark.subprocess
def test_a_zombie_and_an_ended_process_are_dead() -> None:
    with process.started(["sleep", "60"]) as child:
        owner = Owner(child.pid, _start(child.pid), Owner.current().boot)
        assert owner.is_alive()
        child.kill()
        # Not waited for yet: a zombie.
        with open(f"/proc/{child.pid}/stat") as stat:
            while stat.read().rpartition(")")[2].split()[0] != "Z":
                stat.seek(0)
        assert not owner.is_alive()
    assert not owner.is_alive()


def _start(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[19])
