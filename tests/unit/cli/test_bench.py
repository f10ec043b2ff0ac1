import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from benchmarks.__main__ import NAMES
from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT
from pipeline.cli import bench


class _Became(Exception):
    """Stands in for the end of this process."""


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    words: list[str] = []

    def execute(program: str, arguments: Sequence[str]) -> NoReturn:
        words.extend(arguments)
        raise _Became

    monkeypatch.setattr(os, "execv", execute)
    return words


def test_every_benchmark_has_a_name() -> None:
    files = [file for file in (CHECKOUT / "benchmarks").rglob("*.py") if "ArgumentParser(" in file.read_text()]
    modules = {".".join(file.relative_to(CHECKOUT / "benchmarks").with_suffix("").parts) for file in files}
    assert modules - {"imageservice.serving"} == set(NAMES)  # that one is what the others start


def test_it_becomes_the_benchmark_with_its_options(
    became: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(_Became):
        bench.run("signing", options="--gib 1 --folder 'a b'", json="figures.json")
    assert became == [
        *(sys.executable, "-m", "benchmarks", "signing"),
        *("--json", f"{tmp_path}/figures.json", "--gib", "1", "--folder", "a b"),
    ]


def test_a_name_that_is_none_is_told_with_those_that_are(became: list[str]) -> None:
    with pytest.raises(PipelineError, match="there is no benchmark spelling") as caught:
        bench.run("spelling", options="", json="")
    assert "signing" in str(caught.value.hint)
    assert became == []


def test_without_a_name_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    bench.run("", options="", json="")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(NAMES)
