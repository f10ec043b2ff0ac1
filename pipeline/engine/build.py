"""Building: what the command line, the nightly and the tests call."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from pipeline.engine import artifacts, garbage, registry, runs
from pipeline.engine.entry import Entry
from pipeline.engine.history import History
from pipeline.engine.journal import Journal
from pipeline.engine.options import BuildOptions
from pipeline.engine.reap import reap
from pipeline.engine.result import BuildResult
from pipeline.engine.run import Run
from pipeline.engine.store import Store
from pipeline.recipes.model import Recipe
from pipeline.signing.keyring import Keyring


def build(
    recipes: Sequence[Recipe], options: BuildOptions | None = None, *, steps: Sequence[Entry] | None = None
) -> list[BuildResult]:
    """Build ``recipes`` as far as they have changed; return one result for each, in their order.

    A recipe that fails does not keep the others from being built: its result carries the error. Raises
    ``PipelineError`` when nothing can be built at all (a cache of another version, say), and ``KeyboardInterrupt``
    or ``SystemExit`` after an orderly end when the run is interrupted.
    """
    options = options or BuildOptions()
    for key in dict.fromkeys(recipe.signing.key for recipe in recipes if recipe.signing.enabled):
        # Workers have no terminal.
        Keyring(options.home).unlock(key)
    store = Store.open(options.home.cache)
    journal = Journal(options.home, [recipe.name for recipe in recipes], options.as_dict())
    noted = reap(options.home, store)
    with store.lease(), contextlib.closing(History(options.home)) as history:
        results = Run(
            recipes, registry.STEPS if steps is None else steps, store, journal, history, options, noted
        ).work()
    for result in results:
        if result.is_good and (result.changed or not artifacts.is_current(options.home, result)):
            artifacts.offer(options.home, result)
    if any(result.changed for result in results):
        garbage.collect(store, garbage.cap())
    runs.prune(options.home)
    return results
