"""Find where the product keeps its state on this machine.

``PIPELINE_HOME`` (default ``.pipeline/`` in the current checkout) holds everything a run makes; ``PIPELINE_CACHE``
(default ``HOME/cache``) may point to a folder that several checkouts share.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.errors import PipelineError

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Home:
    """The folders of one installation. Nothing is created by naming it."""

    root: Path
    cache: Path

    @classmethod
    def default(cls) -> Home:
        """Return the home that the environment names, else the one next to the checkout's code.

        Raises ``PipelineError`` for a folder whose name the programs that work in it cannot be told.
        """
        root = _folder("PIPELINE_HOME", CHECKOUT / ".pipeline")
        return cls(root, _folder("PIPELINE_CACHE", root / "cache"))

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


def _folder(variable: str, otherwise: Path) -> Path:
    found = Path(os.environ.get(variable) or otherwise).absolute()
    # QEMU, virt-install and libguestfs take paths within lists that commas divide.
    wrong = re.search(r"[,\x00-\x1f\x7f]", str(found))
    if wrong is None:
        return found
    what = "a comma" if wrong[0] == "," else "a control character"
    raise PipelineError(
        f"{variable}: {str(found)!r} has {what}, which programs for disks and guests take for the end of a name",
        hint=f"set {variable} to another folder, or rename that one",
    )
