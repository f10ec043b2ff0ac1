"""How much of a cold build a small change costs, and how long it takes to see that nothing has changed.

    python -m benchmarks.rebuild [RECIPE] [--folder FOLDER] [--only KIND,…] [--rounds N] [--table]

The kinds: ``cold`` (from nothing), ``unchanged``, ``property`` (another image property), ``key`` (a rotated signing
key), ``command`` (another customise command), ``ten`` (ten recipes that differ in their name, unchanged; they are built
first, without boot test, scan and signature). ``--folder`` keeps the cache and the figures, so that kinds can be
measured one after the other; ``--table`` only shows what was measured. All but ``cold`` need a cold build before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.packer import without
from pipeline.base.home import CHECKOUT, Home
from pipeline.engine.build import build
from pipeline.engine.record.result import BuildResult, StepResult, StepStatus
from pipeline.engine.run.options import BuildOptions
from pipeline.host.qemu import accelerator
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.recipe import Recipe
from pipeline.signing.keys.keyring import Keyring
from pipeline.steps.step import Stage

KINDS = ("cold", "unchanged", "property", "key", "command", "ten")
# Shares of the cold time; seconds for what does nothing.
SHARES = {"property": 0.1, "key": 0.1, "command": 0.5}
SECONDS = {"unchanged": 2.0, "ten": 2.0}
PROOFS = ("boot_test", "scan", "signing")


class Rebuilds:
    """Builds of one recipe in one home, and what they took."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.home = Home(folder / "home", folder / "home" / "cache")
        self.file = folder / "figures.json"
        # Steps ask for the key where everybody's is.
        os.environ["PIPELINE_HOME"] = str(self.home.root)
        (self.recipe,) = RecipeFolder(CHECKOUT / "recipes").load(name)

    def measure(self, kind: str) -> None:
        """Do one build of this kind and note its seconds and the steps that ran."""
        before = time.time_ns()
        recipe = self.recipe
        match kind:
            case "cold":
                if self.figures()[kind]:
                    shutil.rmtree(self.home.root, ignore_errors=True)
                Keyring(self.home).signer(recipe.signing.key)
            case "property":
                properties = {**recipe.properties, "benchmark_round": str(before)}
                recipe = recipe.model_copy(update={"properties": properties})
            case "key":
                Keyring(self.home).rotate(recipe.signing.key)
            case "command":
                customize = recipe.customize.model_copy(update={"commands": (f": {before}",)})
                recipe = recipe.model_copy(update={"customize": customize})
            case "ten":
                bare = without(recipe, *PROOFS)
                recipes = [recipe.model_copy(update={"name": f"{self.name}-{each}", **bare}) for each in range(10)]
                self._built(recipes)
                self._note(kind, lambda: self._built(recipes))
                return
        self._note(kind, lambda: self._built([recipe]))

    def figures(self) -> dict[str, list[dict[str, Any]]]:
        """Everything measured so far, by kind."""
        known = json.loads(self.file.read_text()) if self.file.is_file() else {}
        return defaultdict(list, known)

    def table(self) -> str:
        """Return what was measured, beside its limit."""
        known = self.figures()
        cold = statistics.median(each["seconds"] for each in known["cold"]) if known["cold"] else None
        rows = ["| build | seconds | share of cold | limit | steps that ran |", "|---|---|---|---|---|"]
        for kind in KINDS:
            if not known[kind]:
                continue
            seconds = statistics.median(each["seconds"] for each in known[kind])
            share = f"{seconds / cold:.1%}" if cold else ""
            limit = f"{SHARES[kind]:.0%}" if kind in SHARES else f"{SECONDS[kind]:.0f} s" if kind in SECONDS else ""
            rows.append(
                f"| {kind} | {seconds:.2f} | {share} | {limit} | {', '.join(known[kind][-1]['ran']) or 'none'} |"
            )
        return "\n".join(rows)

    def _built(self, recipes: Sequence[Recipe]) -> list[BuildResult]:
        # What comes from outside is looked at once: what is new there since would be no small change.
        locked = all((self.file.parent / f"{recipe.name}.lock.json").exists() for recipe in recipes)
        results = build(recipes, BuildOptions(home=self.home, locks=self.file.parent, fresh=not locked))
        for result in results:
            assert result.is_good, result.error
        return results

    def _note(self, kind: str, work: Callable[[], list[BuildResult]]) -> None:
        begun = time.perf_counter()
        results = work()
        # A cold build that was broken off goes on: what counts is what its steps took.
        seconds = _path(results[0].steps) if kind == "cold" else time.perf_counter() - begun
        ran = [step.name for step in results[0].steps if step.status is StepStatus.RAN]
        known = self.figures()
        known[kind].append({"seconds": seconds, "ran": ran})
        figures.note(f"{self.name}: {kind}", seconds, "s", most=SECONDS.get(kind))
        self.file.write_text(json.dumps(known, indent=1))
        print(f"{kind}: {seconds:.2f} s, {', '.join(ran) or 'nothing ran'}", flush=True)


def _path(steps: Sequence[StepResult]) -> float:
    """Seconds along the longest way through a build's steps: records side by side, the signature last."""
    after = [step.seconds for step in steps if step.stage == Stage.RECORD and step.name != "sign"]
    return sum(step.seconds for step in steps if step.stage != Stage.RECORD or step.name == "sign") + max(after)


def main() -> None:
    """Measure, then show the table."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("recipe", nargs="?", default="tiny")
    asked.add_argument("--folder", type=Path)
    asked.add_argument("--only", default=",".join(KINDS))
    asked.add_argument("--rounds", type=int, default=1)
    asked.add_argument("--table", action="store_true")
    options = asked.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="rebuild-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        rebuilds = Rebuilds(options.recipe, folder)
        for _ in range(0 if options.table else options.rounds):
            for kind in options.only.split(","):
                rebuilds.measure(kind)
        found = accelerator.probe(rebuilds.home)
        print(f"{options.recipe}; {len(os.sched_getaffinity(0))} processors ({platform.machine()}), {found.name}")
        print(rebuilds.table())
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
