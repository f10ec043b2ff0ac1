"""Record what is kept about a key: its generations, where their private parts are, whether they count."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.signing.trust.kinds import KeyKind


class KeyState(StrEnum):
    """What a generation of a key is good for."""

    ACTIVE = "active"
    RETIRED = "retired"
    REVOKED = "revoked"

    @property
    def is_trusted(self) -> bool:
        """Whether signatures made with it still count."""
        return self is not KeyState.REVOKED


@dataclass(frozen=True)
class Generation:
    """One key pair in a key's life. ``uri`` says where the private part is: ``file:1.pem`` or ``pkcs11:…``."""

    number: int
    kind: KeyKind
    key_id: str
    uri: str
    certificate: str
    created: str
    state: KeyState = KeyState.ACTIVE
    reason: str = ""
    ended: str = ""


@dataclass(frozen=True)
class Record:
    """A key by its name, with all its generations, oldest first."""

    name: str
    generations: tuple[Generation, ...] = field(default=())

    @property
    def is_usable(self) -> bool:
        """Whether a generation signs; not when all are revoked."""
        return any(generation.state is KeyState.ACTIVE for generation in self.generations)

    @property
    def active(self) -> Generation:
        """The generation that signs. Raises ``PipelineError`` when all are revoked."""
        for generation in reversed(self.generations):
            if generation.state is KeyState.ACTIVE:
                return generation
        raise PipelineError(f"the key {self.name} is revoked", hint=f"./inv keys.rotate {self.name}")

    def with_new(self, added: Generation) -> Record:
        """With one more generation, which signs from now on."""
        older = [
            replace(each, state=KeyState.RETIRED, ended=now()) if each.state is KeyState.ACTIVE else each
            for each in self.generations
        ]
        return replace(self, generations=(*older, added))

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Record:
        """Parse the JSON of a record file."""
        generations = [
            Generation(**{**entry, "kind": KeyKind(entry["kind"]), "state": KeyState(entry["state"])})
            for entry in data["generations"]
        ]
        return cls(data["name"], tuple(generations))

    def dump(self) -> str:
        """Return it as the text of a record file."""
        return json.dumps(asdict(self), indent=2) + "\n"


def now() -> str:
    """Return this moment, as records write it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
