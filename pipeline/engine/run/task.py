"""Describe what a worker is given: one unit of work, and everything it needs to do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base.home import Home
from pipeline.engine.cache.store import Blob, CacheStore
from pipeline.engine.cache.workdir import Workdir
from pipeline.engine.units.graph import Unit
from pipeline.steps.step import Origin


@dataclass(frozen=True)
class WorkerTask:
    """Everything a worker needs: what to do, what it stands on, where to work and to log.

    ``base`` is the digest of the frozen disk below, ``products`` those that a record is about, ``facts`` what earlier
    steps returned, ``locked`` what was found outside. ``logs``, ``evidence`` and ``deadlines`` are by
    step; a deadline is in seconds, by accelerator.
    """

    unit: Unit
    key: str
    document: Mapping[str, Any]
    base: str | None
    products: Mapping[str, Blob]
    facts: Mapping[str, Mapping[str, Any]]
    locked: Mapping[str, Mapping[str, Any]]
    offline: bool
    home: Home
    store: CacheStore
    location: Workdir
    temporary: Path
    run: str
    logs: Mapping[str, Path]
    evidence: Mapping[str, Path]
    deadlines: Mapping[str, Mapping[str, float]]
    accelerator: str | None
    origins: Sequence[Origin]
