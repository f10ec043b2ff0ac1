"""Estimate how long a build still takes."""

from __future__ import annotations

import pytest

from pipeline.engine.monitors.time_estimate import TimeEstimate
from tests.unit.engine.monitors.a_run import ahead


def test_an_outlook_follows_the_longest_way() -> None:
    estimate = TimeEstimate(ahead(install=10.0, boot=20.0, scan=40.0, sign=1.0))
    assert (estimate.left({}), estimate.share({})) == (51.0, 0.0)
    assert estimate.left({"install": 4.0}) == 47.0
    estimate.done("install")
    assert estimate.left({"boot": 5.0, "scan": 5.0}) == 36.0
    assert estimate.left({"boot": 0.0, "scan": 100.0}) == 21.0, "what is slower than usual ends any moment"
    assert estimate.share({"boot": 0.5}) == pytest.approx(20 / 71)
    for step in ("boot", "scan", "sign"):
        estimate.done(step)
    assert (estimate.left({}), estimate.share({})) == (0.0, 1.0)


def test_an_outlook_knows_what_it_does_not_know() -> None:
    estimate = TimeEstimate(ahead(install=None, boot=20.0, scan=40.0, sign=1.0))
    assert estimate.left({}) is None
    assert estimate.share({"install": 0.5}) == pytest.approx(1 / 8), "each step counts the same"
    estimate.done("install")
    assert estimate.left({}) == 41.0
    assert TimeEstimate(()).share({}) == 0.0
