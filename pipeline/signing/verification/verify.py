"""Verify an image with everything that came with it, offline, reading its bytes once.

Nothing is believed because it is there: digests are recomputed, certificates count only up to a trusted authority,
envelopes only with a trusted key, statements only about exactly these bytes.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.image.digests import USUAL, Digests, Hasher
from pipeline.signing.attestation.evidence import Evidence
from pipeline.signing.trust.certificates import CertificateSource
from pipeline.signing.verification.checks import CHECKS, CheckFailed, EvidenceAbsent, VerificationInput, prepare
from pipeline.signing.verification.policy import Check, VerificationPolicy
from pipeline.signing.verification.trust_roots import TrustRoot


class CheckStatus(StrEnum):
    """How a check ended."""

    GOOD = "ok"
    BAD = "FAILED"
    ABSENT = "absent"  # nothing to check, and not required

    @property
    def is_good(self) -> bool:
        """Whether the image may pass."""
        return self is not CheckStatus.BAD


@dataclass(frozen=True)
class CheckFinding:
    """One check and what it found."""

    check: Check
    status: CheckStatus
    detail: str


@dataclass(frozen=True)
class VerificationResult:
    """All checks on one image."""

    name: str
    digests: Digests
    findings: tuple[CheckFinding, ...]

    @property
    def is_good(self) -> bool:
        """Whether nothing failed."""
        return all(finding.status.is_good for finding in self.findings)

    def of(self, check: Check) -> CheckFinding:
        """Return the finding of one check."""
        return next(finding for finding in self.findings if finding.check is check)

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "name": self.name,
            "good": self.is_good,
            "size": self.digests.size,
            "digests": dict(self.digests.values),
            "checks": {each.check: {"status": each.status, "detail": each.detail} for each in self.findings},
        }


def verify(
    name: str,
    blocks: Iterable[bytes],
    evidence: Evidence,
    trust: TrustRoot,
    policy: VerificationPolicy | None = None,
    *,
    certificates: CertificateSource | None = None,
    at: datetime.datetime | None = None,
) -> VerificationResult:
    """Check everything; ``blocks`` are the image's bytes, read to their end exactly once.

    ``certificates`` is asked for the signing certificate when the documents don't bring it. ``at`` is the moment that
    certificates and ages are judged at (now).
    """
    moment = at or datetime.datetime.now(datetime.UTC)
    work = VerificationInput(evidence, trust, policy or VerificationPolicy(), certificates, moment)
    prepare(work)
    with Hasher({*USUAL, *([work.claim.method.algorithm] if work.claim else [])}) as hasher:
        for block in blocks:
            hasher.update(block)
        work.digests = hasher.finish()
    return VerificationResult(
        name, work.digests, tuple(_run(work, check, function) for check, function in CHECKS.items())
    )


def _run(work: VerificationInput, check: Check, function: Callable[[VerificationInput], str]) -> CheckFinding:
    try:
        return CheckFinding(check, CheckStatus.GOOD, function(work))
    except EvidenceAbsent as absent:
        status = CheckStatus.BAD if check in work.policy.require else CheckStatus.ABSENT
        return CheckFinding(check, status, str(absent) + (", but required" if status is CheckStatus.BAD else ""))
    except CheckFailed as refused:
        return CheckFinding(check, CheckStatus.BAD, str(refused))
    except PipelineError as error:
        return CheckFinding(check, CheckStatus.BAD, error.message)
