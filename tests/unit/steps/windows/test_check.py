"""Read what Windows' Setup and sysprep left."""

from __future__ import annotations

import pytest

from pipeline.recipes.model.product import Firmware
from pipeline.steps.windows import check, plan, unattend
from tests.unit.steps.windows.shipped import NAMES, load


@pytest.mark.parametrize("name", NAMES)
def test_the_builds_answers_are_told_from_those_that_sysprep_leaves(name: str) -> None:
    recipe, install = load(name)
    ours = unattend.render(recipe, install, Firmware.UEFI, "a password")
    assert check.build_answers(check.text(ours))
    assert check.build_answers(check.text(ours.decode().encode("utf-16")))
    left = (plan.HERE / "conf" / "Unattend.xml").read_bytes()
    assert not check.build_answers(check.text(left))


def test_the_last_complaints_of_a_log_are_kept() -> None:
    log = "\r\n".join(["Info fine", *(f"Error number {number}" for number in range(9)), "Info the end"])
    assert check.complaints("setuperr.log", log) == [f"setuperr.log: Error number {number}" for number in range(4, 9)]
    assert check.complaints("setuperr.log", "") == []
