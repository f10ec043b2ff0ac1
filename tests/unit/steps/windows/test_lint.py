"""Check what Windows needs of recipes and media."""

from __future__ import annotations

import pytest

from pipeline.steps.windows.lint import _hardware, _start
from tests.unit.steps.windows.shipped import NAMES, load


@pytest.mark.parametrize("name", NAMES)
def test_the_recipes_ask_for_what_windows_needs(name: str) -> None:
    recipe, install = load(name)
    assert list(_hardware(recipe)) == []
    properties = recipe.image_properties
    assert properties["os_type"] == "windows"
    assert properties["hw_time_hpet"] == "false"
    assert properties["hw_pointer_model"] == "usbtablet"
    assert properties["hw_firmware_type"] == ("bios" if name == "windows-2012-r2" else "uefi")
    assert install.edition.startswith(f"Windows Server {recipe.os.version} ")


@pytest.mark.parametrize(
    ("name", "starts", "said"),
    [
        ("windows-2012-r2", {"bios"}, []),
        ("windows-2022", {"bios", "uefi"}, []),
        ("windows-2022", {"bios"}, ["uefi cannot start the.iso; only bios can"]),
        ("windows-2012-r2", set(), ["bios cannot start the.iso; no firmware can"]),
    ],
)
def test_media_must_start_with_the_recipes_firmware(name: str, starts: set[str], said: list[str]) -> None:
    recipe, _ = load(name)
    assert list(_start(recipe, starts, "the.iso")) == [f"properties.hw_firmware_type: {each}" for each in said]
