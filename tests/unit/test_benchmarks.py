"""What the benchmarks build: real recipes, changed as each measurement wants them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import figures, packer, rebuild
from pipeline.base.home import CHECKOUT
from pipeline.engine.run.options import BuildOptions
from pipeline.host.system import process
from pipeline.recipes.model.recipe import Recipe


def test_a_recipe_with_and_without_proofs() -> None:
    full, bare = packer.recipe("one", proofs=True), packer.recipe("two", proofs=False)
    assert (full.customize.hostname, bare.customize.hostname) == ("one", "two")
    for part in ("boot_test", "scan", "signing"):
        assert getattr(full, part).enabled and not getattr(bare, part).enabled


def test_what_was_not_measured_is_not_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", lambda *words, **options: SimpleNamespace(stdout="Packer v1.6.6"))
    monkeypatch.setattr("pipeline.host.system.kernel.newest", lambda: SimpleNamespace(version="6.1"))
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


def test_figures_say_what_they_depend_on_and_whether_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_noted", [])
    monkeypatch.setattr("subprocess.run", lambda *words, **options: SimpleNamespace(stdout="abc\n"))
    figures.note("ratio", 1.2, "×", n=5, most=1.1)
    figures.note("rate", 12.5, "MB/s", least=10)
    told = figures.document("signing", ["--gib", "1"], 1, (0.1, 0.2, 0.3))
    assert (told["benchmark"], told["options"], told["status"], told["revision"]) == (
        "signing",
        ["--gib", "1"],
        1,
        "abc",
    )
    assert told["figures"] == [
        {"name": "ratio", "value": 1.2, "unit": "×", "n": 5, "least": None, "most": 1.1, "met": False},
        {"name": "rate", "value": 12.5, "unit": "MB/s", "n": 1, "least": 10, "most": None, "met": True},
    ]


@pytest.mark.subprocess
@pytest.mark.slow
def test_a_benchmark_leaves_its_figures_as_json(tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    words = ["bench", "signing", "--json", str(target), "--options", f"--gib 0.02 --rounds 1 --folder {tmp_path}"]
    done = process.run([sys.executable, "-m", "pipeline.cli", *words], cwd=CHECKOUT, check=False)
    told = json.loads(target.read_text())
    assert told["status"] == done.status
    assert {"signing to hashing", "memory of the signing process"} <= {each["name"] for each in told["figures"]}
    assert told["machine"]["processors"] > 0
