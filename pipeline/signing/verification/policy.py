"""Read what a verifier demands of an image from a small YAML file."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from pipeline.base import yaml_source
from pipeline.base.errors import PipelineError

_AGE = re.compile(r"(\d{1,5})\s*(h|d)")
_SECONDS = {"h": 3600, "d": 86_400}


class Check(StrEnum):
    """One thing that is checked; in the order in which verdicts are shown."""

    DIGESTS = "digests"  # the bytes are those that were sealed
    SIGNATURE = "signature"  # the image signature over the bytes
    CERTIFICATE = "certificate"  # a trusted authority vouches for the signing key, which is not revoked
    ATTESTATIONS = "attestations"  # trusted keys signed every statement, and all are about these bytes
    PROVENANCE = "provenance"  # who built it, from which recipe, of which materials, when
    BOOT_TEST = "boot-test"
    SCAN = "secret-scan"
    SBOM = "sbom"  # the bill of materials is the attested one, and about these bytes


def _seconds(value: Any) -> Any:
    if value is None:
        return None
    match = _AGE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("an age is a number and h or d: 48h, 30d")
    return int(match[1]) * _SECONDS[match[2]]


class VerificationPolicy(BaseModel):
    """The demands. Empty lists demand nothing of their kind."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    require: tuple[Check, ...] = tuple(Check)
    """What must be there and good. What is there is always checked, whether it is required or not."""
    keys: tuple[str, ...] = ()
    """Ids (or beginnings of at least 16 characters) of the keys that may sign; without any, all trusted ones."""
    builders: tuple[str, ...] = ()
    """Builder ids that count."""
    recipes: tuple[str, ...] = ()
    """Names of recipes that count."""
    materials: dict[str, dict[str, str]] = {}
    """Digests that dependencies must have: name → algorithm → hex."""
    max_age: Annotated[int | None, BeforeValidator(_seconds)] = None
    """How old the build may be, such as ``30d``."""
    allow_expired: bool = False
    """Whether certificates whose time has passed still count."""

    @classmethod
    def read(cls, path: Path) -> VerificationPolicy:
        """Read a policy's file. Raises ``PipelineError`` with every problem and its line."""
        source = yaml_source.load(path)
        try:
            made = cls.model_validate(source.data if source.data is not None else {})
        except ValidationError as error:
            details = [
                f"{source.position(each['loc'])}: {'.'.join(map(str, each['loc']))}: {each['msg']}"
                for each in error.errors()
            ]
            raise PipelineError(f"{path} is not a valid policy", details=details) from None
        short = [key for key in made.keys if not re.fullmatch(r"[0-9a-f]{16,64}", key)]
        if short:
            raise PipelineError(f"{path}: keys: {', '.join(short)}: at least 16 characters of the key's id are needed")
        return made

    def accepts_key(self, identity: str) -> bool:
        """Return whether a key may sign."""
        return not self.keys or any(identity.startswith(key) for key in self.keys)
