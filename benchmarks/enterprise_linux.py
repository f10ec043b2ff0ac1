"""How long Enterprise Linux takes from its media to a signed artifact, on media that stand in for the real ones.

    python -m benchmarks.enterprise_linux [--release 6|7] [--engine ENGINE] [--rounds N]

Once from nothing, then ``--rounds`` times with what a machine keeps between builds: libguestfs's appliance. The media
are made before. The processor is emulated, whatever the machine has. Ends with 1 when the warm builds' median is above
the limit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks import figures
from pipeline.base.home import Home
from pipeline.engine.build import build
from pipeline.engine.run.options import BuildOptions
from pipeline.recipes.model.kickstart import InstallEngine
from pipeline.recipes.model.recipe import Recipe
from tests.guest.steps.kickstart.stock import stocked
from tests.standins.enterprise_linux import Release

RELEASES = {6: "6.10", 7: "7.9"}
LIMIT = 240  # seconds
KEPT = "appliance"


def build_once(recipe: Recipe, home: Home) -> float:
    """Build everything but what the machine keeps; return the seconds, and print what each step took."""
    for path in home.cache.iterdir() if home.cache.is_dir() else ():
        if path.name == KEPT:
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    begun = time.perf_counter()
    (result,) = build([recipe], BuildOptions(home=home, locks=home.root, accelerator="tcg"))
    seconds = time.perf_counter() - begun
    assert result.is_good, result.error
    steps = ", ".join(f"{step.name} {step.seconds:.1f}" for step in result.steps)
    print(f"{seconds:.1f} s: {steps}", flush=True)
    return seconds


def main() -> int:
    """Measure, then show the figures; return the status to exit with."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--release", type=int, choices=RELEASES, default=7)
    asked.add_argument("--engine", type=InstallEngine, choices=list(InstallEngine), default=InstallEngine.VIRT_INSTALL)
    asked.add_argument("--rounds", type=int, default=1)
    options = asked.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="enterprise-linux-"))
    home = Home(folder / "home", folder / "home/cache")
    os.environ["PIPELINE_HOME"] = str(home.root)
    try:
        with stocked(folder / "stock", Release(options.release, RELEASES[options.release])) as stock:
            os.environ["http_proxy"] = f"http://127.0.0.1:{stock.port}"
            recipe = stock.recipe(f"rhel{options.release}", options.engine)
            cold = build_once(recipe, home)
            warm = statistics.median(build_once(recipe, home) for _ in range(options.rounds))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    where = f"{recipe.name} by {options.engine}, {len(os.sched_getaffinity(0))} processors"
    figures.note(f"{recipe.name}, cold", cold, "s")
    figures.note(f"{recipe.name}, warm", warm, "s", n=options.rounds, most=LIMIT)
    print(f"{where}: cold {cold:.0f} s, warm {warm:.0f} s (limit {LIMIT} s)")
    return int(warm > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
