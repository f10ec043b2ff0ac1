"""Secrets of this machine, and recipes from elsewhere that name them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.recipes.loading.load import RecipeFolder

pytestmark = pytest.mark.subprocess
RECIPE = """
os: {type: linux, distro: rhel, version: "7.9", admin_user: cloud-user}
disk: {size: 2GiB}
install:
  method: kickstart
  kickstart: mine.ks
  supplied: a DVD
  subscription: {username: rhsm-user, password: rhsm-password}
products: [{format: qcow2}]
"""


class Checkout:
    def __init__(self, root: Path) -> None:
        self.root, self.home = root / "checkout", root / "home"
        self.recipes = self.root / "recipes"
        self.recipes.mkdir(parents=True)
        self.home.mkdir()
        (self.recipes / "mine.yaml").write_text(RECIPE)
        (self.recipes / "mine.ks").write_text("text\n")

    def git(self, *words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, *words], cwd=self.root, check=True, capture_output=True)

    def commit(self) -> None:
        self.git("init", "-q")
        self.git("add", ".")
        self.git("commit", "-qm", "ours")

    def load(self) -> None:
        RecipeFolder(self.recipes, home=self.home).load("mine")

    def refused(self) -> PipelineError:
        with pytest.raises(PipelineError) as caught:
            self.load()
        return caught.value

    def grant(self, text: str) -> None:
        (self.home / "secrets.allow").write_text(text)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_a_recipe_from_elsewhere_is_granted_nothing(checkout: Checkout) -> None:
    error = checkout.refused()
    assert len(error.details) == 2
    assert "mine.yaml:" in error.details[0]
    assert f"write 'mine: [rhsm-password]' into {checkout.home}/secrets.allow" in "".join(error.details)


def test_what_the_owner_grants_counts(checkout: Checkout) -> None:
    checkout.grant("mine: [rhsm-user, rhsm-password]\n")
    checkout.load()


def test_a_grant_is_for_one_recipe_and_one_secret(checkout: Checkout) -> None:
    checkout.grant("mine: [rhsm-user]\nother: [rhsm-password]\n")
    assert ["rhsm-password" in line for line in checkout.refused().details] == [True]


def test_a_committed_recipe_needs_no_grant(checkout: Checkout) -> None:
    checkout.commit()
    checkout.load()


@pytest.mark.parametrize("changed", ["mine.yaml", "mine.ks"])
def test_a_committed_recipe_with_another_content_does(checkout: Checkout, changed: str) -> None:
    checkout.commit()
    with (checkout.recipes / changed).open("a") as file:
        file.write("# somebody's\n")
    assert checkout.refused().details


def test_a_file_that_is_only_added_is_not_committed(checkout: Checkout) -> None:
    checkout.git("init", "-q")
    checkout.git("add", ".")
    assert checkout.refused().details


def test_a_list_that_others_can_write_is_none(checkout: Checkout) -> None:
    checkout.grant("mine: [rhsm-user, rhsm-password]\n")
    (checkout.home / "secrets.allow").chmod(0o666)
    assert "can be written by others" in checkout.refused().message


@pytest.mark.parametrize("text", ["mine", "mine: rhsm-user", "mine: [1]", "- mine", "mine: ["])
def test_a_list_that_is_none(checkout: Checkout, text: str) -> None:
    checkout.grant(text)
    assert "secrets.allow" in checkout.refused().message


def test_an_empty_list_grants_nothing(checkout: Checkout) -> None:
    checkout.grant("")
    assert checkout.refused().details


def test_a_name_that_is_a_pattern_is_not_committed_because_another_is(checkout: Checkout) -> None:
    recipe = checkout.recipes / "mine.yaml"
    recipe.write_text(RECIPE.replace("mine.ks", "'m*.ks'"))
    checkout.commit()
    (checkout.recipes / "m*.ks").write_text("somebody's\n")
    assert checkout.refused().details


def test_a_checkout_within_is_somebody_elses_and_none_of_its_programs_run(checkout: Checkout) -> None:
    (checkout.recipes / "mine.yaml").write_text(RECIPE.replace("mine.ks", "theirs/mine.ks"))
    checkout.commit()
    theirs, ran = checkout.recipes / "theirs", checkout.root / "ran"
    theirs.mkdir()
    (theirs / "mine.ks").write_text("somebody's\n")
    (theirs / ".gitattributes").write_text("* filter=x diff=x\n")
    program = theirs / "program"
    program.write_text(f"#!/bin/sh\ntouch {ran}\ncat\n")
    program.chmod(0o755)
    within = Checkout.__new__(Checkout)
    within.root = theirs
    within.commit()
    for name in ("core.fsmonitor", "filter.x.clean", "diff.x.textconv", "diff.external"):
        within.git("config", name, str(program))
    (theirs / "mine.ks").touch()
    assert checkout.refused().details
    assert not ran.exists()
