"""Define what a step is, and what it is given.

A step does one piece of work on one recipe's image. It knows nothing of plans, keys, other steps or what happens
after a failure: the engine owns deadlines, logs, evidence and clean-up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

from pipeline.base.home import Home
from pipeline.base.progress import Progress
from pipeline.host.diagnosis.stall import StallPolicy
from pipeline.recipes.model.recipe import Recipe


class Stage(StrEnum):
    """When a step runs. What the steps of a stage leave is frozen once, at the stage's end."""

    INSTALL = "install"  # from nothing to an installed disk
    OFFLINE = "offline"  # one appliance launch: customise, sysprep, scrub, inspect
    PRODUCT = "product"  # flatten, sparsify, convert: the files that will be published
    RECORD = "record"  # facts on the product (boot test, scan, SBOM, signature), keyed by its digest

    @property
    def makes_layer(self) -> bool:
        """Whether the stage freezes a disk that the next stage stands on as an overlay."""
        return self in (Stage.INSTALL, Stage.OFFLINE)


class ChangeProbe(StrEnum):
    """How to find out whether something outside has changed."""

    CONTENT = "content"  # fetch it and digest it: repository metadata, lists of checksums
    HEADERS = "headers"  # ask for its ETag, date and length: media too large to fetch for a look
    TIME = "time"  # it can't be read without us (a CDN with client certificates): believe it for a while
    MACHINE = "machine"  # a package of this machine, named by its URL: looked at always, without a network


@dataclass(frozen=True)
class ExternalInput:
    """Something outside this machine that a step takes from.

    ``urls`` are equal places, tried in order. ``max_age`` is in seconds, for what only time can tell. ``form`` is a
    regular expression for how the content begins, so that a login page or an error told as a success is no content.
    """

    name: str
    urls: tuple[str, ...]
    probe: ChangeProbe = ChangeProbe.CONTENT
    max_age: float = 7 * 86400
    form: bytes = b""


@runtime_checkable
class HasExternalInputs(Protocol):
    """What a step has, besides everything else, when its result depends on something outside this machine."""

    def external_inputs(self, recipe: Recipe) -> Sequence[ExternalInput]:
        """Return what it takes from. Before a nightly run the engine finds out what is there now and locks it."""


@runtime_checkable
class SpeaksOfPart(Protocol):
    """What a record step has, besides everything else, when it speaks of a part of the products only.

    Its result then holds for all products with the same part.
    """

    def part(self, recipe: Recipe, facts: Mapping[str, Mapping[str, Any]]) -> str | None:
        """Return a digest of that part, from what earlier steps found; ``None`` when it speaks of
        the whole this time.
        """


@runtime_checkable
class Prepares(Protocol):
    """What a step has, besides everything else, when its inputs name something that this machine has to make first."""

    def prepare(self, recipe: Recipe, home: Home) -> None:
        """Make it, if it isn't there. Called at the start of a run, in the engine's own process; not by a plan."""


@dataclass(frozen=True)
class Origin:
    """A unit of work that the product stands on: its content key, the run that did it, when (ISO 8601), how long."""

    unit: str
    key: str
    run: str
    made: str
    seconds: float
    accelerator: str


@dataclass(frozen=True)
class Context:
    """What one run of a step works with.

    ``disk``: the QCOW2 file to make (install) or to change (offline: an overlay whose base is frozen); a product step
    reads it and writes ``products``. ``products``: format name → file. A record step finds them frozen, mode 0444.
    ``folder`` is private scratch on the same file system and is removed afterwards. ``evidence`` is kept when
    the step fails: serial log, screenshot, last events. ``facts`` holds what earlier steps of this recipe returned,
    by step name. ``layers`` is the folder under which ``disk`` and all its backing files lie. A record step may leave
    files in ``documents`` (an SBOM, an attestation, a screenshot): they are kept with the record, by their names.
    ``locked`` says by the name of each ``ExternalInput`` of this step what was found there (``url``, ``sha256`` if its
    content was read); with ``offline`` the step must not touch the network. ``origins`` are the units of this recipe
    that were done before, for whoever has to tell how the product came about.
    """

    recipe: Recipe
    home: Home
    folder: Path
    disk: Path
    products: Mapping[str, Path]
    evidence: Path
    log: IO[bytes]
    progress: Progress
    accelerator: str
    layers: Path
    documents: Path
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    origins: Sequence[Origin] = ()
    locked: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    offline: bool = False
    stall_policy: StallPolicy = field(default_factory=StallPolicy)


class Step(Protocol):
    """One step. Implementations are stateless; everything they need is in the recipe and the context."""

    name: str
    stage: Stage

    def applies_to(self, recipe: Recipe) -> bool:
        """Return whether this recipe has this step at all."""

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """Return everything outside the step's own code and the layer below that can change its result, as JSON data:

        its options, digests of the files it reads, versions of the tools and kernels it uses; a secret by
        name and generation only.
        """

    def run(self, context: Context) -> Mapping[str, Any]:
        """Do the work; return the facts found or made, as JSON data. Raises ``PipelineError`` when it fails.

        The fact ``dependencies`` lists everything that was taken in from elsewhere, for the provenance: each a mapping
        of ``name`` (unique), ``uri`` (a package URL, an address without password) and ``digest`` (hash → hex). What
        the engine locked for the step is added to it by the engine.
        """
