"""Build recipes: what the command line, the nightly and the tests call."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from pipeline.engine import artifacts, registry
from pipeline.engine.cache import garbage
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.keys import code_digests
from pipeline.engine.record import runs
from pipeline.engine.record.history import BuildHistory
from pipeline.engine.record.journal import RunJournal
from pipeline.engine.record.result import BuildResult
from pipeline.engine.run.options import BuildOptions
from pipeline.engine.run.reap import reap
from pipeline.engine.run.scheduler import Run
from pipeline.engine.units.step_entry import StepEntry
from pipeline.recipes.model.recipe import Recipe
from pipeline.signing.keys.keyring import Keyring


def build(
    recipes: Sequence[Recipe], options: BuildOptions | None = None, *, steps: Sequence[StepEntry] | None = None
) -> list[BuildResult]:
    """Build ``recipes`` as far as they have changed; return one result for each, in their order.

    A recipe that fails does not keep the others from being built: its result carries the error. Raises
    ``PipelineError`` when nothing can be built at all (a cache of another version, say), and ``KeyboardInterrupt``
    or ``SystemExit`` after an orderly end when the run is interrupted.
    """
    options = options or BuildOptions()
    steps = registry.STEPS if steps is None else steps
    for entry in steps:
        # Before anything runs: a checkout may be updated beneath a long build, which goes on with the code it has.
        code_digests.of(entry.step)
    for key in dict.fromkeys(recipe.signing.key for recipe in recipes if recipe.signing.enabled):
        # Workers have no terminal.
        Keyring(options.home).unlock(key)
    store = CacheStore.open(options.home.cache)
    journal = RunJournal(options.home, [recipe.name for recipe in recipes], options.as_dict())
    noted = reap(options.home, store)
    with store.lease(), contextlib.closing(BuildHistory(options.home)) as history:
        results = Run(recipes, steps, store, journal, history, options, noted).work()
    for result in results:
        if result.is_good and (result.changed or not artifacts.is_current(options.home, result)):
            artifacts.link_products(options.home, result)
    if any(result.changed for result in results):
        garbage.collect(store, garbage.cap())
    runs.prune(options.home)
    return results
