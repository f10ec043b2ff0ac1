"""How many guests of a boot test run at the same time."""

from __future__ import annotations

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.host import memory
from pipeline.recipes.load import RecipeFolder
from pipeline.recipes.model import Recipe
from pipeline.recipes.product import BootTest
from pipeline.steps.boot_test import at_once


def _recipe(*firmware: str) -> Recipe:
    (tiny,) = RecipeFolder(CHECKOUT / "recipes").load("tiny")
    boot_test = BootTest.model_validate({"firmware": firmware, "memory": "1GiB"})
    return tiny.model_copy(update={"boot_test": boot_test})


@pytest.mark.parametrize(
    ("firmware", "guests", "available", "expected"),
    [
        (["bios", "uefi"], 2, 16 << 30, 2),
        (["bios", "uefi"], 4, 16 << 30, 2),
        (["bios", "uefi"], 1, 16 << 30, 1),
        (["bios", "uefi"], 2, 4 << 30, 1),
        (["uefi"], 2, 16 << 30, 1),
    ],
)
def test_as_many_as_there_is_room_for(
    firmware: list[str], guests: int, available: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: available)
    assert at_once(_recipe(*firmware), guests) == expected


def test_one_for_each_processor_when_nobody_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 16 << 30)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0})
    assert at_once(_recipe("bios", "uefi")) == 1
