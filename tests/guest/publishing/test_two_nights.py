"""Two real nights at once, on one checkout and on two with one cache: work is done once, nothing is spoilt."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.base.home import CHECKOUT, Home
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.cache.verify import verify
from pipeline.publishing.cloud import connect as cloud_connect
from tests import leftovers
from tests.environments.daemon import free_port

pytestmark = [pytest.mark.guest, pytest.mark.server, pytest.mark.long, pytest.mark.timeout(3600)]

_PARTS = ("pipeline", "recipes", "requirements", "tasks.py", "pyproject.toml")
# As tiny, with one boot instead of two.
_RECIPES = {
    "first": "extends: tiny\nboot_test: {firmware: [bios]}\n",
    "second": "extends: tiny\ncustomize: {hostname: second}\nboot_test: {firmware: [bios]}\n",
}
_NIGHTLY = "recipes: [first, second]\ntargets:\n  - cloud: bundled\n    stores: [main]\n"
_LONGEST = 1500


@dataclass(frozen=True)
class Checkout:
    """A copy of this checkout, with a home and an image service of its own."""

    folder: Path
    home: Home

    @classmethod
    def make(cls, folder: Path, cache: Path) -> Checkout:
        for part in _PARTS:
            source = CHECKOUT / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.lock.json"))
            else:
                folder.mkdir(exist_ok=True)
                shutil.copy2(source, folder / part)
        for name, text in _RECIPES.items():
            (folder / "recipes" / f"{name}.yaml").write_text(text)
        (folder / "recipes" / "nightly.yaml").write_text(_NIGHTLY)
        home = Home(folder / ".pipeline", cache)
        home.service.mkdir(parents=True)
        (home.service / "settings.yaml").write_text(f"listen: 127.0.0.1:{free_port()}\n")
        return cls(folder, home)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PIPELINE_HOME": str(self.home.root), "PIPELINE_CACHE": str(self.home.cache)}
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", *words],
            cwd=self.folder,
            env={**environment, "PYTHONPATH": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def ran(self) -> Counter[tuple[str, str]]:
        """How often each step of each recipe was begun, in all runs."""
        events = [json.loads(line) for file in self.home.runs.glob("*/events.jsonl") for line in file.open()]
        return Counter((each["recipe"], each["step"]) for each in events if each["event"] == "StepStarted")

    def published(self) -> list[tuple[str, str]]:
        """What consumers see in this checkout's image service."""
        api = cloud_connect.connect(self.home, cloud_connect.BUNDLED)
        return sorted((image.name, image.status) for name in _RECIPES for image in api.visible(name=name))


@pytest.fixture
def checkouts(tmp_path: Path) -> Iterator[Sequence[Checkout]]:
    cache = tmp_path / "cache"
    made = [Checkout.make(tmp_path / name, cache) for name in ("one", "other")]
    yield made
    for each in made:
        each.start("service.stop", "--now").communicate(timeout=120)


def _together(*nights: subprocess.Popen[bytes]) -> None:
    outputs = [night.communicate(timeout=_LONGEST)[0].decode() for night in nights]
    assert [night.returncode for night in nights] == [0, 0], "\n=====\n".join(outputs)


def test_two_nights_at_once(checkouts: Sequence[Checkout]) -> None:
    one, other = checkouts
    _together(one.start("nightly", "--ci"), one.start("nightly", "--ci"))
    assert set(one.ran().values()) == {1}, "no step was done twice"
    whole = [("first", "active"), ("second", "active")]
    assert one.published() == whole
    locked = {file.name: file.read_text() for file in (one.folder / "recipes").glob("*.lock.json")}
    assert set(locked) == {"first.lock.json", "second.lock.json"}

    # The other checkout's home is new; what was made is in the cache that both share.
    for file in one.home.runs.glob("*/events.jsonl"):
        file.unlink()
    for checkout in checkouts:
        recipe = checkout.folder / "recipes" / "second.yaml"
        recipe.write_text(recipe.read_text().replace("hostname: second", "hostname: changed"))
    _together(one.start("nightly", "--ci"), other.start("nightly", "--ci"))
    ran = one.ran() + other.ran()
    assert {recipe for recipe, _ in ran} <= {"first", "second"}
    again = {step for (recipe, step), count in ran.items() if count > 1}
    # Each home has a signing key of its own.
    assert again <= {"sign"}
    assert not {step for recipe, step in ran if recipe == "first"} - {"sign"}
    assert one.published() == other.published() == whole
    assert [leftovers.of(checkout.home) for checkout in checkouts] == [[], []]
    assert verify(CacheStore.open(one.home.cache)) == []
