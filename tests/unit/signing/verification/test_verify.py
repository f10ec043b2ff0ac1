"""The whole proof of an image: good as it is, refused with the right reason after any change."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.image.digests import USUAL, digest_file
from pipeline.signing.attestation import seal
from pipeline.signing.attestation.dsse import Envelope
from pipeline.signing.attestation.evidence import Evidence
from pipeline.signing.attestation.provenance import BUILD_TYPE
from pipeline.signing.attestation.seal import BuildFacts
from pipeline.signing.attestation.statement import Statement
from pipeline.signing.keys.keyring import Keyring
from pipeline.signing.trust.certificates import key_id
from pipeline.signing.trust.kinds import HashMethod
from pipeline.signing.verification.policy import Check, VerificationPolicy
from pipeline.signing.verification.trust_roots import TrustRoot
from pipeline.signing.verification.verify import CheckStatus, VerificationResult, verify

IMAGE = b"\0bytes of an image\xff" * 3000
ABOUT = BuildFacts(
    image={"name": "debian-12", "distro": "debian", "version": "12"},
    recipe="debian-12",
    options={"disk": 1},
    dependencies=[{"name": "medium", "uri": "https://example.com/x.iso", "digest": {"sha256": "ab" * 32}}],
    tools={"qemu": "7.2"},
    accelerator="tcg",
    steps=[{"unit": "install", "key": "00", "run": "r", "made": "2026-01-01T00:00:00+00:00", "seconds": 1.0}],
    invocation="r",
    started="2026-01-01T00:00:00+00:00",
    finished="2026-01-01T00:00:00+00:00",
    builder="urn:builder:1",
    boot_test={"firmware": {"bios": {}}},
    scan={"findings": [], "allowed": [], "files": 3},
    packages=[{"kind": "deb", "name": "bash", "version": "5"}],
)


class Proof:
    """An image that is built and sealed at this moment, and whoever sealed it."""

    def __init__(self, folder: Path, about: BuildFacts = ABOUT) -> None:
        self.made = datetime.datetime.now(datetime.UTC)
        made = self.made.isoformat(timespec="seconds")
        about = dataclasses.replace(about, started=made, finished=made)
        self.keyring = Keyring(Home(folder / "home", folder / "cache"), passphrases=lambda _: None)
        self.image = folder / "image"
        self.image.write_bytes(IMAGE)
        self.signer = self.keyring.signer("default")
        digests = digest_file(self.image, {*USUAL, HashMethod.SHA384.algorithm})
        self.sealed = seal.seal(
            digests, "debian-12.raw", about, self.signer, HashMethod.SHA384, self.keyring.certificates
        )
        self.trust = TrustRoot.of(self.keyring)
        documents = self.sealed.documents
        self.evidence = Evidence(
            properties=self.sealed.properties,
            signature_document=documents[seal.SIGNATURE],
            attestations=documents[seal.ATTESTATIONS],
            sbom=documents[seal.SBOM],
        )

    def verify(
        self, data: bytes = IMAGE, policy: VerificationPolicy | None = None, **changes: Any
    ) -> VerificationResult:
        trust = changes.pop("trust", self.trust)
        at = changes.pop("at", None)
        evidence = dataclasses.replace(self.evidence, **changes)
        return verify("x", [data[:5000], data[5000:]], evidence, trust, policy, at=at)

    def resigned(self, change: Any) -> bytes:
        """The attestations with one statement changed by ``change`` and signed again by the trusted key."""
        lines = []
        for line in self.evidence.attestations.splitlines() if self.evidence.attestations else ():
            statement = json.loads(Envelope.parse(line).payload)
            change(statement)
            lines.append(Envelope.sign(Statement.parse(json.dumps(statement).encode()).dump(), [self.signer]).dump())
        return "".join(f"{line}\n" for line in lines).encode()


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    return Proof(tmp_path_factory.mktemp("proof"))


def failed(verdict: VerificationResult) -> set[Check]:
    return {finding.check for finding in verdict.findings if finding.status is CheckStatus.BAD}


def test_a_good_image_passes_every_check(proof: Proof) -> None:
    verdict = proof.verify()
    assert [finding.status for finding in verdict.findings] == [CheckStatus.GOOD] * len(Check), verdict
    assert verdict.is_good and verdict.as_data()["checks"]["sbom"]["detail"] == "1 packages"


def test_it_passes_from_the_documents_alone_and_from_the_properties_alone(proof: Proof) -> None:
    assert proof.verify(properties={}).is_good
    policy, found = VerificationPolicy(require=(Check.SIGNATURE, Check.CERTIFICATE)), proof.keyring.certificates
    bare = verify("x", [IMAGE], Evidence(proof.sealed.properties), proof.trust, policy, certificates=found)
    assert bare.is_good
    assert {each.check for each in bare.findings if each.status is CheckStatus.ABSENT} == set(Check) - {
        Check.SIGNATURE, Check.CERTIFICATE,
    }  # fmt: skip


SETTINGS = settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
PLACE = st.floats(0, 1, exclude_max=True)


def changed(data: bytes, location: float, change: int) -> bytes:
    at = int(location * len(data))
    return data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]


@SETTINGS
@given(PLACE, st.integers(1, 255))
def test_one_byte_of_the_image(proof: Proof, location: float, change: int) -> None:
    bad = failed(proof.verify(changed(IMAGE, location, change)))
    assert {Check.DIGESTS, Check.SIGNATURE, Check.ATTESTATIONS} <= bad


@SETTINGS
@given(PLACE, st.integers(1, 255))
def test_one_byte_of_the_attestations(proof: Proof, location: float, change: int) -> None:
    data = changed(proof.sealed.documents[seal.ATTESTATIONS], location, change)
    assert Check.ATTESTATIONS in failed(proof.verify(attestations=data))


@SETTINGS
@given(PLACE, st.integers(1, 255))
def test_one_byte_of_the_bill_of_materials(proof: Proof, location: float, change: int) -> None:
    assert failed(proof.verify(sbom=changed(proof.sealed.documents[seal.SBOM], location, change))) == {
        Check.SBOM,
        Check.PROVENANCE,  # which names the SBOM by its digest
    }


@SETTINGS
@given(PLACE, st.integers(1, 255))
def test_one_byte_of_the_signature_document(proof: Proof, location: float, change: int) -> None:
    data = changed(proof.sealed.documents[seal.SIGNATURE], location, change)
    bad = failed(proof.verify(signature_document=data, properties={}))
    assert bad & {Check.DIGESTS, Check.SIGNATURE, Check.CERTIFICATE, Check.ATTESTATIONS, Check.PROVENANCE}


@SETTINGS
@given(st.data())
def test_one_character_of_a_property(proof: Proof, data: st.DataObject) -> None:
    properties = dict(proof.sealed.properties)
    name = data.draw(st.sampled_from(sorted(properties)))
    location, change = data.draw(PLACE), data.draw(st.integers(1, 127))
    properties[name] = changed(properties[name].encode(), location, change).decode(errors="replace")
    if properties[name].split() == proof.sealed.properties[name].split():
        return
    bad = failed(proof.verify(properties=properties))
    if name == "img_signature_certificate_uuid":
        assert bad == {Check.SIGNATURE, Check.CERTIFICATE}  # there is none to judge
    else:
        assert Check.SIGNATURE in bad


@SETTINGS
@given(PLACE, st.integers(1, 255))
def test_one_byte_of_the_certificate(proof: Proof, location: float, change: int) -> None:
    document = json.loads(proof.sealed.documents[seal.SIGNATURE])
    head, body, tail = document["certificate"].partition("\n")
    lines = tail.split("-----END")[0].replace("\n", "")
    der = changed(base64.b64decode(lines), location, change)
    document["certificate"] = f"{head}{body}{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"
    data = (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
    assert failed(proof.verify(signature_document=data)) & {Check.SIGNATURE, Check.CERTIFICATE}


@SETTINGS
@given(st.data())
def test_one_digit_of_a_subject(proof: Proof, data: st.DataObject) -> None:
    """Even if a trusted key signs it: it is about another file then."""
    name = data.draw(st.sampled_from(["sha256", "sha512"]))
    at, digit = data.draw(st.integers(0, 63)), data.draw(st.sampled_from("0123456789abcdef"))

    def other(statement: Any) -> None:
        digest = statement["subject"][0]["digest"]
        digest[name] = digest[name][:at] + digit + digest[name][at + 1 :]

    verdict = proof.verify(attestations=proof.resigned(other))
    if verdict.is_good:
        assert proof.sealed.digests[name][at] == digit
    else:
        assert "about other files" in verdict.of(Check.ATTESTATIONS).detail


def test_the_bill_that_the_properties_name(proof: Proof) -> None:
    named = hashlib.sha256(proof.sealed.documents[seal.SBOM]).hexdigest()
    assert proof.verify(properties={**proof.sealed.properties, "sbom_sha256": named}).is_good
    other = {**proof.sealed.properties, "sbom_sha256": "0" + named[1:] if named[0] != "0" else "1" + named[1:]}
    assert failed(proof.verify(properties=other)) == {Check.SBOM}


def test_an_untrusted_signer_proves_nothing(proof: Proof, tmp_path: Path) -> None:
    stranger = Proof(tmp_path)
    verdict = stranger.verify(trust=proof.trust)
    assert {Check.CERTIFICATE, Check.ATTESTATIONS} <= failed(verdict)
    assert "no trusted certificate vouches" in verdict.of(Check.CERTIFICATE).detail
    assert "0 of 1 trusted keys" in verdict.of(Check.ATTESTATIONS).detail


def test_revoked_and_rotated_keys(tmp_path: Path) -> None:
    mine = Proof(tmp_path)
    mine.keyring.rotate("default")
    assert mine.verify(trust=TrustRoot.of(mine.keyring)).is_good
    mine.keyring.revoke("default", "laptop stolen", number=1)
    verdict = mine.verify(trust=TrustRoot.of(mine.keyring))
    assert "is revoked: laptop stolen" in verdict.of(Check.CERTIFICATE).detail
    assert "is revoked: laptop stolen" in verdict.of(Check.ATTESTATIONS).detail


def test_expired_certificates_count_only_when_the_policy_says_so(proof: Proof) -> None:
    later = proof.made + datetime.timedelta(days=4 * 365)
    assert failed(proof.verify(at=later)) == {Check.CERTIFICATE}
    assert proof.verify(at=later, policy=VerificationPolicy(allow_expired=True)).is_good


def test_a_build_that_is_still_to_come_is_refused(proof: Proof) -> None:
    verdict = proof.verify(at=proof.made - datetime.timedelta(minutes=5), policy=VerificationPolicy(allow_expired=True))
    assert verdict.is_good  # clocks differ
    verdict = proof.verify(at=proof.made - datetime.timedelta(days=1), policy=VerificationPolicy(max_age="30d"))
    assert "still to come" in verdict.of(Check.PROVENANCE).detail


def test_a_revoked_authority_vouches_for_nothing(proof: Proof) -> None:
    authority = proof.trust.authorities[0]
    revoked = dataclasses.replace(proof.trust, revoked={key_id(authority.public_key()): "stolen"})
    assert failed(proof.verify(trust=revoked)) == {Check.CERTIFICATE}


def test_what_policies_demand(proof: Proof) -> None:
    identity = key_id(proof.signer.public_key)
    good = VerificationPolicy(
        keys=(identity[:20],), builders=("urn:builder:1",), recipes=("debian-12",), max_age="2d",
        materials={"medium": {"sha256": "ab" * 32}},
    )  # fmt: skip
    assert proof.verify(policy=good).is_good
    for change, check, words in (
        ({"keys": ("0" * 64,)}, Check.CERTIFICATE, "does not accept the key"),
        ({"builders": ("urn:other",)}, Check.PROVENANCE, "built by urn:builder:1"),
        ({"recipes": ("other",)}, Check.PROVENANCE, "from the recipe debian-12"),
        ({"materials": {"medium": {"sha256": "ac" * 32}}}, Check.PROVENANCE, "material medium"),
        ({"materials": {"lock": {"sha256": "ac" * 32}}}, Check.PROVENANCE, "material lock"),
    ):
        verdict = proof.verify(policy=good.model_copy(update=change))
        assert words in verdict.of(check).detail and check in failed(verdict), change
    old = proof.verify(policy=good, at=proof.made + datetime.timedelta(days=3))
    assert "3.0 days ago" in old.of(Check.PROVENANCE).detail


@pytest.mark.parametrize(
    ("predicate", "change", "check"),
    [
        ("slsa", lambda p: p["buildDefinition"].update(buildType="urn:other"), Check.PROVENANCE),
        ("slsa", lambda p: p["buildDefinition"]["externalParameters"].update(hidden=1), Check.PROVENANCE),
        ("slsa", lambda p: p["runDetails"].pop("builder"), Check.PROVENANCE),
        ("test-result", lambda p: p.update(result="FAILED"), Check.BOOT_TEST),
        ("secret-scan", lambda p: p["findings"].append({}), Check.SCAN),
        ("secret-scan", lambda p: p.pop("findings"), Check.SCAN),
        ("bom", lambda p: p["metadata"]["component"].pop("hashes"), Check.SBOM),
    ],
)
def test_signed_statements_that_say_something_else(proof: Proof, predicate: str, change: Any, check: Check) -> None:
    def apply(statement: Any) -> None:
        if predicate in statement["predicateType"]:
            change(statement["predicate"])

    assert failed(proof.verify(attestations=proof.resigned(apply))) == {check}


def test_what_is_required_must_be_there(proof: Proof) -> None:
    verdict = proof.verify(attestations=None, sbom=None)
    assert failed(verdict) == {Check.ATTESTATIONS, Check.PROVENANCE, Check.BOOT_TEST, Check.SCAN, Check.SBOM}
    assert "but required" in verdict.of(Check.SBOM).detail
    unsigned = verify("x", [IMAGE], Evidence(), proof.trust)
    assert failed(unsigned) == set(Check)


def test_provenance_has_what_slsa_wants(proof: Proof) -> None:
    line = proof.sealed.documents[seal.ATTESTATIONS].splitlines()[0]
    predicate = Statement.parse(Envelope.parse(line).payload).predicate
    assert predicate["buildDefinition"]["buildType"] == BUILD_TYPE
    assert set(predicate["buildDefinition"]["externalParameters"]) == {"recipe", "options"}
    assert predicate["runDetails"]["metadata"]["invocationId"] == "r"
    assert predicate["buildDefinition"]["resolvedDependencies"][0]["digest"] == {"sha256": "ab" * 32}


def test_policies_and_trust_roots_are_read_with_clear_errors(proof: Proof, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("max_age: 30d\nrequire: [signature]\n")
    assert VerificationPolicy.read(path).max_age == 30 * 86_400
    path.write_text("max_age: soon\nkey: x\nrequire: [nothing]\n")
    with pytest.raises(PipelineError) as error:
        VerificationPolicy.read(path)
    assert sorted(detail.partition(": ")[0] for detail in error.value.details) == [
        f"{path}:{line}" for line in (1, 2, 3)
    ]
    path.write_text("keys: [abc]\n")
    with pytest.raises(PipelineError, match="at least 16 characters"):
        VerificationPolicy.read(path)
    root = tmp_path / "trust.json"
    root.write_text(proof.trust.dump())
    assert proof.verify(trust=TrustRoot.read(root)).is_good
    assert "PRIVATE" not in proof.trust.dump()
    for text in ("", "[]", "{}", '{"format": 2}', proof.trust.dump().replace("BEGIN PUBLIC", "BEGIN RUBBISH")):
        root.write_text(text)
        with pytest.raises(PipelineError):
            TrustRoot.read(root)


@given(
    st.dictionaries(st.sampled_from(["image", "recipe", "steps", "packages", "finished"]), st.integers() | st.text())
)
def test_descriptions_of_builds_from_elsewhere(data: dict[str, Any]) -> None:
    with pytest.raises(PipelineError, match="does not describe a build"):
        BuildFacts.parse(data, name="build.json")
    assert BuildFacts.parse(json.loads(json.dumps(dataclasses.asdict(ABOUT))), name="x").recipe == "debian-12"


def test_a_key_managers_id_is_bound_to_its_certificate_by_the_provenance(tmp_path: Path) -> None:
    mine = Proof(tmp_path)
    ids = iter(["6a1b6d0e-0000-4000-8000-000000000001", "6a1b6d0e-0000-4000-8000-000000000002"])
    mine.keyring.publish("default", lambda certificate, name: next(ids))
    again = Proof(tmp_path)
    assert again.sealed.properties["img_signature_certificate_uuid"] == "6a1b6d0e-0000-4000-8000-000000000001"
    assert again.verify().is_good and again.verify(properties={}).is_good
    text = again.sealed.documents[seal.SIGNATURE].replace(b"000000000001", b"000000000003")
    assert failed(again.verify(signature_document=text, properties={})) == {Check.PROVENANCE}
