"""What changed inside, and what holds an image back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.home import CHECKOUT, Home
from pipeline.engine.record.result import BuildResult, ProductResult
from pipeline.host.guestfs import contents
from pipeline.publishing.contents import inventory
from pipeline.publishing.contents.diff import compare
from pipeline.publishing.contents.inventory import Inventory
from pipeline.publishing.plan.gates import tripped
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.retention_fields import Gates


def build(size: int = 1000, packages: dict[str, str] | None = None, **facts: Any) -> BuildResult:
    (recipe,) = RecipeFolder(CHECKOUT / "recipes").load("tiny")
    product = ProductResult("qcow2", Path("/nowhere"), size, {"sha512": "0" * 128})
    known = {"boot_test": {"ports": ["tcp 22"]}, "offline": {"inspection": {"packages": packages}}, **facts}
    return BuildResult(recipe, "run", [product], {}, known, [], True, 1.0)


def reasons(made: BuildResult, before: int | None, packages: dict[str, str] | None = None, **limits: Any) -> list[str]:
    difference = None
    if packages is not None:
        difference = compare(Inventory(packages=packages, known=("packages",)), Inventory.of(made))
    return list(tripped(Gates(**limits), made, made.products[0].size, before, difference))


@pytest.mark.parametrize("where", ["scan", "offline"])
def test_files_are_known_from_whoever_read_them(where: str) -> None:
    packed = contents.pack({"/etc/motd": "0123"})
    facts: dict[str, Any] = {"scan": {"files": packed}, "offline": {}}
    if where == "offline":
        facts = {"offline": {"contents": {"files": packed}}}
    found = Inventory.of(build(**facts))
    assert found.files == {"/etc/motd": "0123"} and "files" in found.known
    assert "files" not in Inventory.of(build(offline={}, scan={"files": None})).known


def test_an_image_within_its_limits_is_let_through() -> None:
    assert reasons(build(1500), 1000) == []
    assert reasons(build(10**9), None) == []


def test_growth_and_shrinkage_beyond_the_limit_are_told_with_numbers() -> None:
    assert reasons(build(1501), 1000) == ["it grew by 50 % (from 1000 to 1501 bytes; at most 50 % are allowed)"]
    assert "shrank by 60 %" in reasons(build(400), 1000)[0]
    assert reasons(build(10**6), 1000, max_growth="any") == []


def test_missing_packages_are_named() -> None:
    before = {f"p{number:02}": "1" for number in range(12)}
    assert reasons(build(packages={}), 1000, before, max_removed_packages=12) == []
    (reason,) = reasons(build(packages={}), 1000, before, max_removed_packages=11)
    assert reason.startswith("12 packages are gone (p00, p01") and "…" in reason


def test_an_unknown_inventory_removes_nothing() -> None:
    assert reasons(build(packages=None), 1000, {"a": "1"}, max_removed_packages=0) == []


def test_a_missing_boot_test_and_findings_of_the_scan_hold_back() -> None:
    untested = replace(build(), facts={})
    assert reasons(untested, 1000) == ["there is no record of a passed boot test"]
    found = build(scan={"findings": ["a key"]})
    assert reasons(found, 1000) == ["the scan found 1 thing that must not be in an image"]
    assert reasons(untested, 1000, boot_test=False) == reasons(found, 1000, scan=False) == []


def test_differences_by_kind() -> None:
    before = Inventory({"a": "1", "b": "1", "c": "1"}, services={"ssh": ""}, known=("packages", "services", "users"))
    after = Inventory({"a": "2", "b": "1", "d": "1"}, services={"ssh": "", "cron": ""}, known=("packages", "services"))
    found = compare(before, after)
    assert found.packages.added == {"d": "1"}
    assert found.packages.removed == {"c": "1"}
    assert found.packages.updated == {"a": ("1", "2")}
    assert found.packages.summary == "1 added, 1 removed, 1 updated"
    assert list(found.kinds) == ["packages", "services"]
    assert not compare(before, before)


def test_inventories_are_kept_by_digest(home: Home) -> None:
    users = {"root": "0:0, /bin/sh, no password"}
    known = Inventory(
        {"a": "1"}, {"6.1": ""}, {"ssh": "enabled"}, {"tcp 22": "ssh"}, users, {"/x": "ab"}, ("packages",)
    )
    inventory.keep(home, "ab" * 64, known)
    assert inventory.recall(home, "ab" * 64) == known
    assert inventory.recall(home, "cd" * 64) is None
    assert inventory.recall(home, "../../etc/passwd") is None
