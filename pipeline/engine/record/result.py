"""Define what a build leaves, as data. Publishing, reports and the command line read it; nothing here does work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.recipes.model.recipe import Recipe


class StepStatus(StrEnum):
    """How a step ended."""

    CACHED = "cached"  # its result was there already
    RAN = "ran"
    FAILED = "failed"
    NOT_RUN = "not run"  # something before it failed, or the run was ended

    @property
    def is_good(self) -> bool:
        """Whether the step's result is there."""
        return self in (StepStatus.CACHED, StepStatus.RAN)


@dataclass(frozen=True)
class StepResult:
    """One step of one build. ``seconds`` is the time it took when it last ran, also if that was an earlier build.

    ``error`` says why it failed.
    """

    name: str
    stage: str
    status: StepStatus
    seconds: float
    log: Path | None = None
    error: PipelineError | None = None


@dataclass(frozen=True)
class ProductResult:
    """One finished file, read-only. ``path`` names these bytes for ever: it is never written again.

    ``digests`` maps ``md5``, ``sha256``, ``sha512`` (and whatever the signature needed) to hex; ``signature`` holds
    the four ``img_signature*`` properties over exactly these bytes, or nothing when the recipe is not signed.
    """

    format: str
    path: Path
    size: int
    digests: Mapping[str, str]
    signature: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BuildResult:
    """The end of one recipe's build, good or bad.

    ``products`` keep the recipe's order. ``properties`` are those to publish, without the signature, which differs
    by product. ``facts`` is what each step returned, by its name. ``changed`` says whether any step ran. ``error``
    is set when the build failed; then there are no products. ``documents`` are the files the steps left (serial
    logs, screenshots, bills of materials), by name. ``reasons`` says of each unit of work that ran why it had to.
    """

    recipe: Recipe
    run: str
    products: Sequence[ProductResult]
    properties: Mapping[str, str]
    facts: Mapping[str, Mapping[str, Any]]
    steps: Sequence[StepResult]
    changed: bool
    seconds: float
    error: PipelineError | None = None
    evidence: Path | None = None
    documents: Mapping[str, Path] = field(default_factory=dict)
    reasons: Sequence[str] = ()

    @property
    def is_good(self) -> bool:
        """Whether the products are there and every record over them was made."""
        return self.error is None

    def product(self, format: str) -> ProductResult:
        """Return the product of format ``format``. Raises ``PipelineError`` when the build has none."""
        for product in self.products:
            if product.format == format:
                return product
        made = ", ".join(product.format for product in self.products) or "nothing"
        raise PipelineError(f"recipe {self.recipe.name} makes no {format} (it makes {made})")
