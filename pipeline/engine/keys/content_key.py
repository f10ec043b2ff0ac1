"""Compute content keys: a hash of everything that can change a result.

What goes in: the engine's format, the stage, the digest of what the unit stands on, and for each step its inputs and
the digests of the code that it uses. Nothing of it says where a checkout lies, so that several share a cache.
Secrets go in by name and generation only: a hash of a short secret is a secret.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.base import json_text
from pipeline.base.errors import PipelineError
from pipeline.engine.keys import code_digests
from pipeline.engine.keys.freshness import external_inputs
from pipeline.engine.keys.lock_file import Locked
from pipeline.engine.units.step_entry import StepEntry
from pipeline.host.system import tool_versions
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.step import Step

# Raised when the engine itself changes what a stage leaves.
ENGINE = 1

Document = dict[str, Any]


class InputMissing(PipelineError):
    """Something that ``step`` needs to run is not there or cannot be read."""

    def __init__(self, step: str, why: PipelineError) -> None:
        super().__init__(why.message, hint=why.hint, details=why.details)
        self.step = step


class NotLookedUp(InputMissing):
    """Something outside that ``step`` takes from was never looked at."""


def document(
    stage: str, base: Mapping[str, Any], entries: Iterable[StepEntry], recipe: Recipe, locked: Mapping[str, Locked]
) -> Document:
    """Return everything that decides the result of a unit, as JSON data. Raises ``InputMissing``."""
    return {
        "engine": ENGINE,
        "stage": stage,
        "base": dict(base),
        "steps": {entry.name: _step(entry, recipe, locked) for entry in entries},
    }


def _step(entry: StepEntry, recipe: Recipe, locked: Mapping[str, Locked]) -> dict[str, Any]:
    found: dict[str, Any] = {"inputs": _plain(entry.step, recipe), "code": code_digests.of(entry.step)}
    if entry.tools:
        found["tools"] = {name: _version(name) for name in entry.tools}
    try:
        taken = external_inputs(recipe, [entry])
    except PipelineError as error:
        raise InputMissing(entry.name, error) from error
    missing = sorted(set(taken) - set(locked))
    if missing:
        why = PipelineError(f"{', '.join(missing)}: not looked at yet (./inv lock {recipe.name})")
        raise NotLookedUp(entry.name, why)
    # Without it the keys of steps that take nothing from outside are what they were before there was a lock file.
    return {**found, "outside": {name: locked[name].identity for name in taken}} if taken else found


def _version(program: str) -> str:
    try:
        return tool_versions.version(program)
    except PipelineError:
        return "not installed"  # a step that cannot do without says so itself


def key(document: Document) -> str:
    """Return the content key of a document: SHA-256 in hex."""
    return hashlib.sha256(canonical(document).encode()).hexdigest()


def canonical(data: Any) -> str:
    """Return JSON with one spelling only."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _plain(step: Step, recipe: Recipe) -> Any:
    """Return the step's inputs, checked to be JSON data and nothing that only looks like it."""
    try:
        return json_text.loads(canonical(step.inputs(recipe)))
    except PipelineError as error:
        raise InputMissing(step.name, error) from error
    except OSError as error:
        location = f"{error.filename}: " if error.filename else ""
        raise InputMissing(step.name, PipelineError(f"{location}{error.strerror}")) from error
    except (TypeError, ValueError) as error:
        problem = PipelineError(f"an input is not JSON data: {error}", hint="this is a bug in the step")
        raise InputMissing(step.name, problem) from error
