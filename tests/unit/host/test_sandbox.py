from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host import process, sandbox

pytestmark = pytest.mark.subprocess


def test_it_sees_what_it_is_given_and_nothing_else(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_text("for you")
    other = tmp_path / "other"
    other.write_text("not for you")
    shown = sandbox.run(["sh", "-c", f"cat /in; ls {other}; ls -A /"], readable={"/in": given}, check=False)
    assert shown.stdout.startswith("for you")
    assert "home" not in shown.stdout.split() and "not for you" not in shown.stdout
    assert "No such file" in shown.stderr


def test_it_cannot_write_what_it_reads_nor_reach_the_network(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_text("mine")
    shown = sandbox.run(["sh", "-c", "echo bad > /in; cat /proc/net/dev"], readable={"/in": given}, check=False)
    assert given.read_text() == "mine"
    assert [line.split(":")[0].strip() for line in shown.stdout.splitlines()[2:]] == ["lo"]


def test_bounds_hold(tmp_path: Path) -> None:
    small = sandbox.Bounds(memory=200 << 20, seconds=1, written=1000)
    words = ["sh", "-c", "head -c 5000 /dev/zero > /out/file"]
    sandbox.run(words, readable={}, out=tmp_path, bounds=small, check=False)
    assert (tmp_path / "file").stat().st_size == 1000
    with pytest.raises(process.ProcessFailed):
        sandbox.run(["sh", "-c", "while :; do :; done"], readable={}, bounds=small, timeout=20)
    with pytest.raises(process.ProcessFailed):
        sandbox.run(["python3", "-c", "bytearray(300 << 20)"], readable={}, bounds=small)


def test_a_missing_bubblewrap_is_told_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.require.cache_clear()
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PipelineError, match="package bubblewrap"):
        sandbox.run(["true"], readable={})
    sandbox.require.cache_clear()
