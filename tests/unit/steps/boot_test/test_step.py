"""Which firmware each of the boot tests is for, and when an earlier boot speaks for an image."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.product import BootTest as Settings
from pipeline.recipes.model.product import Product
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.boot_test.step import BootTestStep, FirmwareTestStep, published

pytestmark = pytest.mark.subprocess  # asks QEMU for its version
CHAIN = {"offline": {"boot_chain": "abc"}}


def _recipe(firmware: list[str], properties: dict[str, str] | None = None, **settings: Any) -> Recipe:
    (tiny,) = RecipeFolder(CHECKOUT / "recipes").load("tiny")
    boot_test = Settings.model_validate({"firmware": firmware, **settings})
    return tiny.model_copy(update={"boot_test": boot_test, "properties": properties or {}})


@pytest.mark.parametrize(
    ("firmware", "property_", "expected"),
    [
        (["bios", "uefi"], "uefi", "uefi"),
        (["bios", "uefi"], "bios", "bios"),
        (["uefi", "bios"], None, "bios"),  # what Nova takes when nothing is said
        (["uefi"], "bios", "uefi"),
    ],
)
def test_the_boot_test_is_for_the_published_firmware(firmware: list[str], property_: str | None, expected: str) -> None:
    recipe = _recipe(firmware, {"hw_firmware_type": property_} if property_ else {})
    assert published(recipe) == expected
    if len(firmware) > 1:
        (other,) = set(firmware) - {expected}
        assert FirmwareTestStep().inputs(recipe)["others"] == [other]


def test_another_firmware_on_this_machine_is_booted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step's key holds the digests of the firmware that it boots with, and of no other."""
    recipe = _recipe(["bios", "uefi"], {"hw_firmware_type": "bios"})
    with_bios, with_uefi = BootTestStep().inputs(recipe)["firmware"], FirmwareTestStep().inputs(recipe)["firmware"]
    assert list(with_bios) == ["bios-256k.bin"] and len(with_bios["bios-256k.bin"]) == 64
    assert len(with_uefi) == 2 and not set(with_uefi) & set(with_bios)
    elsewhere = FirmwareTestStep().inputs(_recipe(["bios", "uefi"], {"hw_firmware_type": "uefi"}))["firmware"]
    assert elsewhere == with_bios, "the same files for whichever step"


def test_there_is_another_test_only_for_another_firmware() -> None:
    both, one = _recipe(["bios", "uefi"]), _recipe(["uefi", "uefi"])
    assert FirmwareTestStep().applies_to(both) and BootTestStep().applies_to(both)
    assert not FirmwareTestStep().applies_to(one) and BootTestStep().applies_to(one)
    off = _recipe(["bios", "uefi"], enabled=False)
    assert not FirmwareTestStep().applies_to(off) and not BootTestStep().applies_to(off)
    parts = tuple(Product.model_validate({"format": kind}) for kind in ("aki", "ari", "ami"))
    assert not FirmwareTestStep().applies_to(both.model_copy(update={"products": parts})), "no firmware starts these"


def test_it_speaks_of_the_boot_chain_where_that_is_known() -> None:
    both, thorough = _recipe(["bios", "uefi"]), _recipe(["bios", "uefi"], thorough=True)
    assert FirmwareTestStep().part(both, CHAIN) == "abc"
    assert FirmwareTestStep().part(both, {"offline": {"boot_chain": None}}) is None
    assert FirmwareTestStep().part(both, {}) is None
    assert FirmwareTestStep().part(thorough, CHAIN) is None
    assert not hasattr(BootTestStep(), "part"), "the published one boots whatever changed"
