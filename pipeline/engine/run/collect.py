"""Collect what the steps returned into the result of a build.

Steps speak to the result through two facts: ``products`` (format → ``digests``, ``signature``) of the step that
signs, and ``properties`` (image properties found by looking, which the recipe's own override).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.engine.cache.store import CacheStore
from pipeline.engine.record.result import BuildResult, ProductResult
from pipeline.engine.run.state import BuildState


def collect(build: BuildState, store: CacheStore, run: str) -> BuildResult:
    """Return the result of ``build`` as it stands."""
    facts = build.facts()
    good = build.error is None and all(state.outcome is not None for state in build.units.values())
    return BuildResult(
        recipe=build.recipe,
        run=run,
        products=_products(build, store, facts) if good else (),
        properties=_properties(build, facts),
        facts=facts,
        steps=build.step_results(),
        changed=build.changed,
        seconds=(build.ended or time.monotonic()) - build.begun,
        error=build.error,
        evidence=build.evidence,
        documents=_documents(build, store),
        reasons=build.reasons,
    )


def _products(build: BuildState, store: CacheStore, facts: Mapping[str, Mapping[str, Any]]) -> list[ProductResult]:
    found = []
    for name, blob in build.products().items():
        digests, signature = {"sha256": blob.sha256}, {}
        for fact in facts.values():
            recorded = fact.get("products", {}).get(name, {})
            digests.update(recorded.get("digests", {}))
            signature.update(recorded.get("signature", {}))
        found.append(ProductResult(name, store.product(name, blob.sha256), blob.size, digests, signature))
    return found


def _documents(build: BuildState, store: CacheStore) -> dict[str, Path]:
    return {
        name: store.documents / blob.sha256
        for state in build.units.values()
        if state.outcome is not None
        for name, blob in state.outcome.documents.items()
    }


def _properties(build: BuildState, facts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    derived: dict[str, str] = {}
    for fact in facts.values():
        derived.update(fact.get("properties", {}))
    return {**derived, **build.recipe.image_properties}


def summary(result: BuildResult) -> dict[str, Any]:
    """Return a result as JSON data, for the journal and for other programs."""
    return {
        "good": result.is_good,
        "changed": result.changed,
        "seconds": round(result.seconds, 3),
        "error": str(result.error) if result.error else None,
        "reasons": list(result.reasons),
        "products": [
            {"format": each.format, "path": str(each.path), "size": each.size, "digests": dict(each.digests)}
            for each in result.products
        ],
        "steps": {step.name: {"status": str(step.status), "seconds": step.seconds} for step in result.steps},
    }
