"""State how a finished image was built, that it booted, and that nothing secret was found in it.

Provenance follows SLSA v1 (https://slsa.dev/spec/v1.0/provenance): ``externalParameters`` is what whoever asked for the
image chose, everything that went into it is a resolved dependency with its digest, and the builder says who it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.signing.attestation.statement import PROVENANCE, TEST_RESULT, Statement, Subject

# Documented in docs/signing.md; a change of what the parameters mean takes a new number.
BUILD_TYPE = "urn:golden-image-pipeline:build:1"
SECRET_SCAN = "urn:golden-image-pipeline:secret-scan:1"  # noqa: S105 - the name of a predicate
DEFAULT_BUILDER = "urn:golden-image-pipeline:builder:unattested"
# Whoever verifies rejects parameters it doesn't know (SLSA), so these are all there are.
EXTERNAL = frozenset({"recipe", "options"})


@dataclass(frozen=True)
class Dependency:
    """Something that went into an image. ``uri`` says where it came from; ``digest`` is algorithm → hex."""

    name: str
    uri: str
    digest: Mapping[str, str]

    def as_data(self) -> dict[str, Any]:
        """Return it as SLSA's ResourceDescriptor."""
        return {"name": self.name, "uri": self.uri, "digest": dict(self.digest)}


@dataclass(frozen=True)
class Build:
    """How an image was built.

    ``options``: the whole recipe as resolved, without secrets. ``dependencies``: recipe source, lock file, media.
    ``tools``: name → version of what built. ``steps``: for each unit its name, content key, run and time.
    ``started`` and ``finished`` are RFC 3339 in UTC. ``byproducts``: documents made along the way.
    """

    recipe: str
    options: Mapping[str, Any]
    dependencies: Sequence[Dependency]
    tools: Mapping[str, str]
    accelerator: str
    steps: Sequence[Mapping[str, Any]]
    invocation: str
    started: str
    finished: str
    builder: str = DEFAULT_BUILDER
    byproducts: Sequence[Dependency] = field(default=())

    def statement(self, subjects: Sequence[Subject]) -> Statement:
        """Return it as a provenance statement over ``subjects``."""
        predicate = {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"recipe": self.recipe, "options": dict(self.options)},
                "internalParameters": {"accelerator": self.accelerator, "steps": [dict(step) for step in self.steps]},
                "resolvedDependencies": [each.as_data() for each in self.dependencies],
            },
            "runDetails": {
                "builder": {"id": self.builder, "version": dict(self.tools)},
                "metadata": {
                    "invocationId": self.invocation,
                    "startedOn": self.started,
                    "finishedOn": self.finished,
                },
                "byproducts": [each.as_data() for each in self.byproducts],
            },
        }
        return Statement(subjects, PROVENANCE, predicate)


def boot_test(subjects: Sequence[Subject], facts: Mapping[str, Any]) -> Statement:
    """State that the image booted (in-toto test result v0.1): ``facts`` are those of the boot test step."""
    predicate = {
        "result": "PASSED",
        "configuration": [{"name": "boot-test", "annotations": dict(facts)}],
        "passedTests": ["boot"],
        "warnedTests": [],
        "failedTests": [],
    }
    return Statement(subjects, TEST_RESULT, predicate)


def secret_scan(subjects: Sequence[Subject], facts: Mapping[str, Any]) -> Statement:
    """State that the image was searched for secrets and identities, how far, and what was allowed."""
    return Statement(subjects, SECRET_SCAN, dict(facts))
