from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.qemu import console
from pipeline.host.qemu.console import Console


def test_it_reads_what_was_added(tmp_path: Path) -> None:
    log = tmp_path / "serial"
    reader = Console(log)
    assert not reader.poll()
    log.write_bytes(b"one\r\n")
    assert reader.poll()
    assert not reader.poll()
    with log.open("ab") as file:
        file.write(b"two \x1b[0m\xff\r\n\r\n")
    assert reader.poll()
    assert reader.text.startswith("one\r\ntwo")
    assert reader.tail() == ["one", "two \ufffd"]
    assert reader.tail(1) == ["two \ufffd"]


def test_it_keeps_the_last_part_only(tmp_path: Path) -> None:
    log = tmp_path / "serial"
    log.write_bytes(b"a" * (300 << 10) + b"end")
    reader = Console(log)
    while reader.poll():
        pass
    assert len(reader.text) == 256 << 10
    assert reader.text.endswith("end")


def test_a_guest_that_floods_its_line_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_LIMIT", 1000)
    log = tmp_path / "serial"
    log.write_bytes(b"x" * 1001)
    with pytest.raises(PipelineError, match="serial line"):
        Console(log).poll()
