"""Write and read in-toto statements: what is said of which files, named by their digests alone (attestation framework
v1).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pipeline.base import json_text
from pipeline.base.errors import PipelineError

TYPE = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
CYCLONEDX = "https://cyclonedx.org/bom"
_HEX = re.compile(r"[0-9a-f]{32,128}")
_STRONG = ("sha512", "sha384", "sha256")


class StatementRefused(PipelineError):
    """A statement that is malformed, or about other files."""


@dataclass(frozen=True)
class Subject:
    """A file: a name for people, digests (algorithm → lower-case hex) for everybody else."""

    name: str
    digest: Mapping[str, str]

    def is_of(self, digests: Mapping[str, str]) -> bool:
        """Return whether it is the file with these digests: all that both know agree, and one of them is strong."""
        shared = set(self.digest) & set(digests)
        return any(name in shared for name in _STRONG) and all(self.digest[name] == digests[name] for name in shared)


@dataclass(frozen=True)
class Statement:
    """Something said of some files."""

    subjects: Sequence[Subject]
    predicate_type: str
    predicate: Mapping[str, Any]

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Parse verified bytes. Raises ``StatementRefused``."""
        try:
            data = json_text.loads(payload)
            if data["_type"] != TYPE:
                raise ValueError(f"its type is {data['_type']!r}")
            subjects = [Subject(str(each.get("name", "")), dict(each["digest"])) for each in data["subject"]]
            made = cls(subjects, str(data["predicateType"]), dict(data.get("predicate") or {}))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StatementRefused(f"this is no in-toto statement: {type(error).__name__} {error}") from None
        if not made.subjects or not all(_is_digest(each.digest) for each in made.subjects):
            raise StatementRefused("the statement names a file without a proper digest")
        return made

    def dump(self) -> bytes:
        """Return it as bytes to sign: the same statement gives the same bytes."""
        data = {
            "_type": TYPE,
            "subject": [{"name": each.name, "digest": dict(each.digest)} for each in self.subjects],
            "predicateType": self.predicate_type,
            "predicate": self.predicate,
        }
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def subject(self, digests: Mapping[str, str]) -> Subject:
        """Return the subject that is the file with these digests. Raises ``StatementRefused`` when it is about others
        only.
        """
        for each in self.subjects:
            if each.is_of(digests):
                return each
        about = ", ".join(each.name or "a nameless file" for each in self.subjects)
        raise StatementRefused(f"the statement is about other files ({about}), or the file was changed")


def _is_digest(digest: Mapping[str, Any]) -> bool:
    return bool(digest) and all(isinstance(value, str) and _HEX.fullmatch(value) for value in digest.values())
