"""``python -m tests.integration.engine.run_light STEERING RECIPE…``: a build in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.engine.build import build
from pipeline.engine.monitors.plain import Plain
from pipeline.engine.run import worker_handle
from pipeline.engine.run.options import BuildOptions
from tests.integration.engine import light


def main() -> None:
    steering = Path(sys.argv[1])
    if (grace := steering / "grace").exists():
        worker_handle.PATIENCE = worker_handle.GRACE = float(grace.read_text())
    recipes = [light.recipe(name, customize={"hostname": name}) for name in sys.argv[2:]]
    results = build(recipes, BuildOptions(monitors=(Plain(),), accelerator="tcg"), steps=light.steps(steering))
    raise SystemExit(0 if all(result.is_good for result in results) else 1)


if __name__ == "__main__":
    main()
