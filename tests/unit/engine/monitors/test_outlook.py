"""Estimate how long a build still takes."""

from __future__ import annotations

import pytest

from pipeline.engine.monitors.outlook import Outlook
from tests.unit.engine.monitors.a_run import ahead


def test_an_outlook_follows_the_longest_way() -> None:
    outlook = Outlook(ahead(install=10.0, boot=20.0, scan=40.0, sign=1.0))
    assert (outlook.left({}), outlook.share({})) == (51.0, 0.0)
    assert outlook.left({"install": 4.0}) == 47.0
    outlook.done("install")
    assert outlook.left({"boot": 5.0, "scan": 5.0}) == 36.0
    assert outlook.left({"boot": 0.0, "scan": 100.0}) == 21.0, "what is slower than usual ends any moment"
    assert outlook.share({"boot": 0.5}) == pytest.approx(20 / 71)
    for step in ("boot", "scan", "sign"):
        outlook.done(step)
    assert (outlook.left({}), outlook.share({})) == (0.0, 1.0)


def test_an_outlook_knows_what_it_does_not_know() -> None:
    outlook = Outlook(ahead(install=None, boot=20.0, scan=40.0, sign=1.0))
    assert outlook.left({}) is None
    assert outlook.share({"install": 0.5}) == pytest.approx(1 / 8), "each step counts the same"
    outlook.done("install")
    assert outlook.left({}) == 41.0
    assert Outlook(()).share({}) == 0.0
