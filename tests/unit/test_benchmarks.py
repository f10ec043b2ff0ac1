"""What the benchmarks build: real recipes, changed as each measurement wants them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import packer, rebuild
from pipeline.engine.options import BuildOptions
from pipeline.recipes.model import Recipe


def test_a_recipe_with_and_without_proofs() -> None:
    full, bare = packer.recipe("one", proofs=True), packer.recipe("two", proofs=False)
    assert (full.customize.hostname, bare.customize.hostname) == ("one", "two")
    for part in ("boot_test", "scan", "signing"):
        assert getattr(full, part).enabled and not getattr(bare, part).enabled


def test_what_was_not_measured_is_not_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", lambda *words, **options: SimpleNamespace(stdout="Packer v1.6.6"))
    monkeypatch.setattr("pipeline.host.kernel.newest", lambda: SimpleNamespace(version="6.1"))
    figures = packer.Figures(tmp_path)
    figures.known["full"].append({"cold": 165.0})
    assert "| cold | 165.0 |  |  |  |" in figures.table("tcg")
    assert "left" not in figures.table("tcg")
    figures.known["packer"].append({"cold": 25.0})
    assert "After SIGKILL packer left nothing." in figures.table("tcg")


def test_each_kind_of_rebuild_changes_what_it_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    built: list[Sequence[Recipe]] = []

    def build(recipes: Sequence[Recipe], options: BuildOptions) -> list[SimpleNamespace]:
        built.append(recipes)
        return [SimpleNamespace(is_good=True, steps=[]) for _ in recipes]

    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path))  # which the benchmark sets for its own process
    monkeypatch.setattr(rebuild, "build", build)
    rebuilds = rebuild.Rebuilds("tiny", tmp_path)
    for kind in ("unchanged", "property", "command", "ten"):
        rebuilds.measure(kind)
    (unchanged,), (other,), (command,), *tens = built
    assert unchanged == rebuilds.recipe
    assert set(other.properties) - set(unchanged.properties) == {"benchmark_round"}
    assert len(command.customize.commands) == 1 and command.properties == unchanged.properties
    assert [[recipe.name for recipe in ten] for ten in tens] == [[f"tiny-{number}" for number in range(10)]] * 2
    assert not any(recipe.signing.enabled for recipe in tens[0])
    assert "| ten | " in rebuilds.table()
