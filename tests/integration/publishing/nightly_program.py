"""A nightly run in a process of its own, so that it can be killed: ``python -m … HOME RECIPE CONTENT STORES``."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.base.home import Home
from pipeline.engine.record.result import BuildResult
from pipeline.engine.run.options import BuildOptions
from pipeline.publishing import nightly
from pipeline.publishing.report import files
from pipeline.recipes.nightly import Nightly, Target
from tests.integration.publishing import made
from tests.integration.publishing.world import hurried


def main(home_folder: str, name: str, content: str, stores: str) -> int:
    """Publish a build of ``content`` to the cloud ``here``; the exit status of ``./inv nightly``."""
    home = Home(Path(home_folder), Path(home_folder) / "cache")
    recipe = made.recipe(name)

    def built(recipes: object, options: BuildOptions) -> list[BuildResult]:
        return [made.build(home, recipe, content, blocks=65536, signed=False)]

    target = Target(cloud="here", stores=tuple(stores.split(",")))
    settings = Nightly(recipes=(name,), targets=(target,))
    night = nightly.run([recipe], settings, BuildOptions(home=home), builder=built, retry_policy=hurried())
    files.write(night, home, keep=5)
    print(*(str(each.outcome) for each in night.publish_results))
    return 0 if night.is_good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
