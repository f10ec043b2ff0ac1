"""Find where the product keeps its state on this machine.

``PIPELINE_HOME`` (default ``.pipeline/`` in the current checkout) holds everything a run makes; ``PIPELINE_CACHE``
(default ``HOME/cache``) may point to a folder that several checkouts share.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Home:
    """The folders of one installation. Nothing is created by naming it."""

    root: Path
    cache: Path

    @classmethod
    def default(cls) -> Home:
        """Return the home that the environment names, else the one next to the checkout's code."""
        root = Path(os.environ.get("PIPELINE_HOME") or CHECKOUT / ".pipeline").absolute()
        return cls(root, Path(os.environ.get("PIPELINE_CACHE") or root / "cache").absolute())

    @property
    def runs(self) -> Path:
        """One folder a run: event log, logs of the steps, evidence."""
        return self.root / "runs"

    @property
    def artifacts(self) -> Path:
        """The newest finished artifacts, one folder a recipe."""
        return self.root / "artifacts"

    @property
    def keys(self) -> Path:
        """Signing keys, mode 0700."""
        return self.root / "keys"

    @property
    def certificates(self) -> Path:
        """The local certificate store: one PEM file per certificate id."""
        return self.root / "certificates"

    @property
    def service(self) -> Path:
        """State of the bundled image service: settings, database, stores, token, logs."""
        return self.root / "service"
