"""Say durations and measures."""

from __future__ import annotations

import pytest

from pipeline.engine.monitors.units import duration, measure


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (9.4, "9.4 s"), (12.6, "13 s"), (185, "3 m 05 s"), (3725, "1 h 02 m")]
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        ((40, 100, "%"), "40 %"),
        ((512, None, "B"), "512 B"),
        ((1 << 20, 1 << 30, "B"), "1.0 MiB of 1.0 GiB"),
        ((3, 7, "files"), "3 of 7 files"),
        ((3, None, "files"), "3 files"),
    ],
)
def test_measures(measured: tuple[int, int | None, str], words: str) -> None:
    assert measure(*measured) == words
