"""Check an image in the order of a verification; each check says what it found, or why the image must not pass."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509

from pipeline.image.digests import Digests
from pipeline.signing import image_signature
from pipeline.signing.attestation import proof, seal
from pipeline.signing.attestation.dsse import Envelope, EnvelopeRefused
from pipeline.signing.attestation.evidence import Evidence
from pipeline.signing.attestation.provenance import BUILD_TYPE, EXTERNAL, SECRET_SCAN
from pipeline.signing.attestation.statement import (
    CYCLONEDX,
    PROVENANCE,
    TEST_RESULT,
    Statement,
    StatementRefused,
    Subject,
)
from pipeline.signing.image_signature import SignatureClaim, SignatureRefused, Verifier
from pipeline.signing.sbom import cyclonedx
from pipeline.signing.trust import chain
from pipeline.signing.trust.certificates import (
    CertificateMissing,
    CertificateSource,
    identity_of,
    is_random,
    key_id,
    parse,
)
from pipeline.signing.trust.chain import ChainRefused
from pipeline.signing.verification.policy import Check, VerificationPolicy
from pipeline.signing.verification.trust_roots import TrustRoot

_MAX_LINES = 64
_MAX_SKEW = 3600  # seconds between the clocks of two machines


class CheckFailed(Exception):
    """A check that failed, with the reason for people."""


class EvidenceAbsent(Exception):
    """A check for which there is nothing."""


@dataclass
class VerificationInput:
    """One verification under way: what is given, and what each check found out for those behind it."""

    evidence: Evidence
    trust: TrustRoot
    policy: VerificationPolicy
    certificates: CertificateSource | None
    moment: datetime.datetime
    document: dict[str, Any] | None = None
    claim: SignatureClaim | None = None
    claim_error: str = ""
    certificate: x509.Certificate | None = None
    digests: Digests = field(default_factory=lambda: Digests(0, {}))
    statements: dict[str, Statement] = field(default_factory=dict)


def prepare(work: VerificationInput) -> None:
    """Take apart what says which digest is needed, before the bytes go by."""
    if work.evidence.signature_document is not None:
        work.document = seal.read_signature_document(work.evidence.signature_document)
    properties: Mapping[str, Any] = work.evidence.properties
    if not any(name in properties for name in image_signature.PROPERTIES) and work.document:
        properties = work.document.get("properties") or {}
    try:
        work.claim = SignatureClaim.parse(properties)
    except (SignatureRefused, AttributeError) as refused:
        work.claim_error = getattr(refused, "message", "the signature document is malformed")


def _digests(work: VerificationInput) -> str:
    if work.document is None:
        raise EvidenceAbsent("no document says what the digests are")
    if not work.document:
        raise CheckFailed("the signature document is malformed, or was changed")
    recorded = work.document["digests"]
    wrong = [name for name, value in work.digests.values.items() if recorded.get(name, value) != value]
    if wrong or work.document["size"] != work.digests.size:
        raise CheckFailed(f"the bytes are others than those that were sealed ({', '.join(sorted(wrong)) or 'size'})")
    return f"sha256 {work.digests.sha256[:16]}…, {work.digests.size} bytes"


def _signature(work: VerificationInput) -> str:
    if work.claim_error:
        raise CheckFailed(work.claim_error)
    if work.claim is None:
        raise EvidenceAbsent("the image is not signed")
    work.certificate = _find_certificate(work, work.claim)
    digest = bytes.fromhex(work.digests[work.claim.method.algorithm])
    Verifier(work.claim, work.certificate).verify(digest)
    return f"{work.claim.key_type}, {work.claim.method}"


def _find_certificate(work: VerificationInput, claim: SignatureClaim) -> x509.Certificate:
    if work.document:
        # JSON can hold halves of surrogate pairs, which no encoding has.
        text = work.document["certificate"].encode(errors="replace")
        brought = parse(text, name="the certificate that came with the image")
        own = work.document["properties"].get(image_signature.CERTIFICATE)
        # A random id says nothing of its certificate; the provenance vouches for the document that joins the two.
        if identity_of(brought) == claim.certificate or (own == claim.certificate and is_random(own)):
            return brought
    if work.certificates is None:
        raise CertificateMissing(f"the certificate {claim.certificate} did not come with the image")
    return work.certificates.get(claim.certificate)


def _certificate(work: VerificationInput) -> str:
    if work.certificate is None:
        raise EvidenceAbsent("there is no certificate to judge")
    identity = key_id(work.certificate.public_key())
    _require_key(work, identity)
    # With expired ones allowed, the chain is judged at a moment when the certificate was good.
    moment = min(work.moment, work.certificate.not_valid_after_utc) if work.policy.allow_expired else work.moment
    try:
        found = chain.validate(work.certificate, work.trust.trusted_authorities, at=moment)
    except ChainRefused as refused:
        raise CheckFailed(refused.message) from None
    return f"key {identity[:16]}…, vouched for by {found[-1].subject.rfc4514_string()}"


def _require_key(work: VerificationInput, identity: str) -> None:
    if identity in work.trust.revoked:
        raise CheckFailed(f"the key {identity[:16]}… is revoked: {work.trust.revoked[identity]}")
    if not work.policy.accepts_key(identity):
        raise CheckFailed(f"the policy does not accept the key {identity[:16]}…")


def _attestations(work: VerificationInput) -> str:
    if work.evidence.attestations is None:
        raise EvidenceAbsent("no attestations came with the image")
    lines = [line for line in work.evidence.attestations.split(b"\n") if line.strip()]
    if not 1 <= len(lines) <= _MAX_LINES:
        raise CheckFailed(f"{len(lines)} attestations; 1 to {_MAX_LINES} make sense")
    keys = {each: key for each, key in work.trust.trusted_keys.items() if work.policy.accepts_key(each)}
    signers: set[str] = set()
    for number, line in enumerate(lines, 1):
        try:
            envelope = Envelope.parse(line)
            good = envelope.verify(keys)
            if envelope.dump().encode() != line or any(each.keyid not in good for each in envelope.signatures):
                raise EnvelopeRefused("it was changed where nothing is signed")
            signers.update(good)
            statement = Statement.parse(envelope.payload)
            _require_name(work, statement.subject(work.digests.values))
        except (EnvelopeRefused, StatementRefused) as refused:
            raise CheckFailed(f"attestation {number}: {refused.message}{_revoked_hint(work, line)}") from None
        if statement.predicate_type in work.statements:
            raise CheckFailed(f"attestation {number}: a second one of type {statement.predicate_type}")
        work.statements[statement.predicate_type] = statement
    return f"{len(lines)}, signed by {', '.join(f'{each[:16]}…' for each in sorted(signers))}"


def _require_name(work: VerificationInput, subject: Subject) -> None:
    if work.document and work.document["name"] != subject.name:
        raise StatementRefused(f"it is about {subject.name!r}, the signature document about {work.document['name']!r}")


def _revoked_hint(work: VerificationInput, line: bytes) -> str:
    try:
        named = {each.keyid for each in Envelope.parse(line).signatures}
    except EnvelopeRefused:
        return ""
    gone = sorted(named & set(work.trust.revoked))
    return f"; the key {gone[0][:16]}… is revoked: {work.trust.revoked[gone[0]]}" if gone else ""


def _predicate(work: VerificationInput, kind: str, what: str) -> Mapping[str, Any]:
    if kind not in work.statements:
        raise EvidenceAbsent(f"no {what} is attested")
    return work.statements[kind].predicate


def _provenance(work: VerificationInput) -> str:
    predicate = _predicate(work, PROVENANCE, "provenance")
    policy = work.policy
    try:
        definition, details = predicate["buildDefinition"], predicate["runDetails"]
        kind, asked = definition["buildType"], definition["externalParameters"]
        recipe, builder = asked["recipe"], details["builder"]["id"]
        finished = datetime.datetime.fromisoformat(details["metadata"]["finishedOn"])
        found = {each["name"]: dict(each["digest"]) for each in definition.get("resolvedDependencies", [])}
        age = (work.moment - finished).total_seconds()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckFailed(f"the provenance is malformed: {type(error).__name__} {error}") from None
    if kind != BUILD_TYPE:
        raise CheckFailed(f"the build is of type {kind}, which is not known here")
    if set(asked) - EXTERNAL:
        raise CheckFailed(
            f"the build has parameters that are not known here: {', '.join(sorted(set(asked) - EXTERNAL))}"
        )
    if policy.builders and builder not in policy.builders:
        raise CheckFailed(f"built by {builder}, which the policy does not accept")
    if policy.recipes and recipe not in policy.recipes:
        raise CheckFailed(f"built from the recipe {recipe}, which the policy does not accept")
    if age < -_MAX_SKEW:
        raise CheckFailed(f"it says that it was built at {finished:%Y-%m-%d %H:%M}, which is still to come")
    if policy.max_age is not None and age > policy.max_age:
        raise CheckFailed(f"built {age / 86_400:.1f} days ago; the policy accepts {policy.max_age / 86_400:.1f}")
    for name, expected in policy.materials.items():
        if any(found.get(name, {}).get(algorithm) != value for algorithm, value in expected.items()):
            raise CheckFailed(f"the material {name} is not the one that the policy names")
    _require_byproducts(work, details)
    return f"recipe {recipe}, builder {builder}, {finished:%Y-%m-%d %H:%M} UTC, {len(found)} materials"


def _require_byproducts(work: VerificationInput, details: Mapping[str, Any]) -> None:
    documents = {seal.SIGNATURE: work.evidence.signature_document, seal.SBOM: work.evidence.sbom}
    for each in details.get("byproducts") or ():
        data = documents.get(each.get("name", ""))
        if data is not None and each.get("digest", {}).get("sha256") != hashlib.sha256(data).hexdigest():
            raise CheckFailed(f"the document {each['name']} is not the one that was made with the image")


def _boot_test(work: VerificationInput) -> str:
    predicate = _predicate(work, TEST_RESULT, "boot test")
    if predicate.get("result") != "PASSED" or predicate.get("failedTests"):
        raise CheckFailed(f"the boot test ended with {predicate.get('result')}")
    return "passed"


def _scan(work: VerificationInput) -> str:
    predicate = _predicate(work, SECRET_SCAN, "secret scan")
    if not isinstance(predicate.get("findings"), list) or not isinstance(predicate.get("allowed"), list):
        raise CheckFailed("the scan's result is malformed")
    if predicate["findings"]:
        raise CheckFailed(f"the scan found {len(predicate['findings'])} secrets or identities")
    return f"clean, {predicate.get('files')} files, {len(predicate['allowed'])} findings allowed"


def _sbom(work: VerificationInput) -> str:
    attested = _predicate(work, CYCLONEDX, "bill of materials")
    about = cyclonedx.image_digest(json.dumps(attested).encode())
    if about.get("sha256") != work.digests.sha256:
        raise CheckFailed("the bill of materials is about another image")
    if work.evidence.sbom is not None and not _same(work.evidence.sbom, attested):
        raise CheckFailed("the bill of materials beside the image is not the attested one, byte for byte")
    named = work.evidence.properties.get(proof.SBOM_SHA256)
    if named is not None and named != hashlib.sha256(cyclonedx.dump(attested)).hexdigest():
        raise CheckFailed("the image's properties name another bill of materials than the attested one")
    return f"{len(attested.get('components') or ())} packages"


def _same(text: bytes, attested: Mapping[str, Any]) -> bool:
    return text == cyclonedx.dump(attested)


# In the order in which they build on each other.
CHECKS: Mapping[Check, Callable[[VerificationInput], str]] = {
    Check.DIGESTS: _digests,
    Check.SIGNATURE: _signature,
    Check.CERTIFICATE: _certificate,
    Check.ATTESTATIONS: _attestations,
    Check.PROVENANCE: _provenance,
    Check.BOOT_TEST: _boot_test,
    Check.SCAN: _scan,
    Check.SBOM: _sbom,
}
