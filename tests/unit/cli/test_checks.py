import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT
from pipeline.cli import checks
from pipeline.host.system import process
from tests.conftest import _shares


class _Became(Exception):
    """Stands in for the end of this process, as another program takes its place."""


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    words: list[str] = []

    def execute(program: str, arguments: Sequence[str]) -> NoReturn:
        assert program == sys.executable
        words.extend(arguments[1:])
        raise _Became

    monkeypatch.setattr(os, "execv", execute)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2})
    monkeypatch.chdir("/")
    return words


_SIDE_BY_SIDE = [*checks.SIDE_BY_SIDE, "-n", "4"]


@pytest.mark.parametrize(
    ("options", "selection", "spread"),
    [
        ({}, "not (long or soak)", _SIDE_BY_SIDE),
        ({"fast": True}, "not (guest or server or slow or long or soak)", ["-n", "3", "--dist=loadfile"]),
        ({"everything": True}, "not soak", _SIDE_BY_SIDE),
        ({"soak": True}, "soak", []),
    ],
)
def test_each_choice_is_a_selection_of_marks(
    became: list[str], options: dict[str, bool], selection: str, spread: list[str]
) -> None:
    chosen = {"fast": False, "everything": False, "soak": False, **options}
    with pytest.raises(_Became):
        checks.test(**chosen, shard="2/3", only=[])
    assert became == ["-m", "pytest", "-m", selection, *spread, "--shard=2/3"]
    assert Path.cwd() == CHECKOUT


def test_a_part_that_is_named_runs_in_one_process_that_answers_to_the_terminal(became: list[str]) -> None:
    with pytest.raises(_Became):
        checks.test(fast=False, everything=False, soak=False, shard="", only=["tests/unit", "tests/guest"])
    assert became == ["-m", "pytest", "-m", "not (long or soak)", "tests/unit", "tests/guest"]


@pytest.mark.parametrize(("processors", "processes"), [(1, "2"), (2, "3"), (3, "4"), (64, "4")])
def test_one_more_runs_side_by_side_than_there_are_processors_and_four_on_many(
    became: list[str], monkeypatch: pytest.MonkeyPatch, processors: int, processes: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(processors)))
    with pytest.raises(_Became):
        checks.test(fast=False, everything=False, soak=False, shard="", only=[])
    assert became[-1] == processes


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pytest notes what failed, in a checkout of the test's own."""
    monkeypatch.setattr(checks, "CHECKOUT", tmp_path)
    note = tmp_path / ".pytest_cache/v/cache/lastfailed"
    note.parent.mkdir(parents=True)
    return note


def test_the_few_that_failed_run_again_with_nothing_beside_them(
    became: list[str], noted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noted.write_text('{"tests/unit/b.py::test_two[a b]": true, "tests/unit/a.py::test_one": true}')
    with pytest.raises(_Became):
        checks.again(everything=False)
    tests = ["tests/unit/a.py::test_one", "tests/unit/b.py::test_two[a b]"]
    assert became == ["-m", "pytest", "-m", "not (long or soak)", *tests]
    assert "failed last time, and run again alone: tests/unit/a.py::test_one, " in capsys.readouterr().out


@pytest.mark.parametrize("failed", [None, 0])
def test_what_has_passed_since_is_not_run_again(
    became: list[str], noted: Path, failed: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if failed is not None:
        noted.write_text("{}")
    checks.again(everything=False)
    assert became == []
    assert "has not passed since" in capsys.readouterr().out


@pytest.mark.parametrize("failed", [4, 100])
def test_more_than_chance_does_is_not_run_again(became: list[str], noted: Path, failed: int) -> None:
    noted.write_text(json.dumps({f"tests/unit/a.py::test_{number}": True for number in range(failed)}))
    with pytest.raises(PipelineError, match=f"{failed} tests failed last time"):
        checks.again(everything=False)
    assert became == []


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_that_is_none_is_refused(became: list[str], shard: str) -> None:
    with pytest.raises(PipelineError, match="not one part of several"):
        checks.test(fast=False, everything=False, soak=False, shard=shard, only=[])
    assert became == []


@given(
    files=st.dictionaries(
        st.integers(0, 40), st.lists(st.sampled_from(["", "guest", "server"]), min_size=1, max_size=9)
    ),
    count=st.integers(1, 5),
)
def test_every_file_is_in_one_shard_and_none_is_split(files: dict[int, list[str]], count: int) -> None:
    items: list[Any] = [
        SimpleNamespace(path=Path(f"test_{number}.py"), get_closest_marker=lambda name, mark=mark: name == mark)
        for number, marks in files.items()
        for mark in marks
    ]
    shares = _shares(items, count)
    assert len(shares) == count
    assert sorted(path for share in shares for path in share) == sorted({item.path for item in items})


@pytest.mark.subprocess
@pytest.mark.slow
def test_two_shards_run_everything_once(tmp_path: Path) -> None:
    ran = []
    for shard in ("1/2", "2/2"):
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", f"--shard={shard}", "tests/unit/base"]
        done = process.run(command, cwd=CHECKOUT)
        ran.append({line for line in done.stdout.splitlines() if "::" in line})
    assert ran[0]
    assert ran[1]
    assert not ran[0] & ran[1]
    whole = process.run([sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/unit/base"], cwd=CHECKOUT)
    assert {line for line in whole.stdout.splitlines() if "::" in line} == ran[0] | ran[1]
