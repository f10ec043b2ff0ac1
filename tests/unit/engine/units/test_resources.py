"""Hand out memory, disk and slots to steps, and refuse what can never fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.engine.units.resources import GIB, MIB, Needs, Resources, amount, free_disk
from pipeline.host.system import memory


def test_needs_add_up_and_bound_each_other() -> None:
    one, two = Needs(memory=5, disk=1, guests=1), Needs(memory=3, disk=4, guests=0)
    assert one | two == Needs(5, 4, 1)
    assert one + two == Needs(8, 5, 1)


def test_resources_are_handed_out_and_taken_back(tmp_path: Path) -> None:
    resources = Resources(tmp_path, slots=2, memory=4 * GIB)
    assert resources.take("a", Needs(memory=GIB, guests=1))
    assert resources.take("b", Needs(memory=GIB, guests=1))
    assert not resources.take("c", Needs(memory=GIB, guests=1)), "no third slot"
    assert not resources.take("d", Needs(memory=2 * GIB)), "no memory"
    resources.give_back("a")
    assert resources.take("c", Needs(memory=GIB, guests=1))


def test_what_runs_alone_always_may(tmp_path: Path) -> None:
    resources = Resources(tmp_path, slots=1, memory=GIB)
    assert resources.take("a", Needs(memory=GIB, guests=3))


def test_what_can_never_fit_is_an_error(tmp_path: Path) -> None:
    resources = Resources(tmp_path, slots=1, memory=GIB)
    with pytest.raises(PipelineError, match=r"x needs 2\.0 GiB of memory .* 1\.0 GiB are available"):
        resources.check("x", Needs(memory=2 * GIB))
    with pytest.raises(PipelineError, match=r"x needs .* TiB of disk"):
        resources.check("x", Needs(disk=1 << 60))
    resources.check("x", Needs(memory=100 * MIB))


def test_this_machine_has_memory_and_disk(tmp_path: Path) -> None:
    assert memory.available() > 64 * MIB
    assert free_disk(tmp_path / "not" / "there") == free_disk(tmp_path)
    assert amount(1536) == "1.5 KiB"
    assert amount(3 << 40) == "3.0 TiB"
