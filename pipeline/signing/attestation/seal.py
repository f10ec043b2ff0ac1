"""Seal a finished file: its digests, its signature, and the documents that say what it is and where it comes from.

The documents stand next to the file and travel with it: ``FILE.signature.json`` (digests, signature properties,
certificate), ``FILE.cdx.json`` (bill of materials), ``FILE.intoto.jsonl`` (attestations: one signed envelope a line).
Digests are computed from the bytes by whoever seals, or during the tests of the same bytes; what the build says of
itself is taken over as its word.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import serialization

from pipeline.base import json_text
from pipeline.base.errors import PipelineError
from pipeline.host.guestfs.installed_packages import InstalledPackage
from pipeline.image.digests import Digests
from pipeline.signing import image_signature
from pipeline.signing.attestation import bundle
from pipeline.signing.attestation.dsse import Envelope
from pipeline.signing.attestation.provenance import Build, Dependency, boot_test, secret_scan
from pipeline.signing.attestation.statement import CYCLONEDX, Statement, Subject
from pipeline.signing.keys.signer import Signer
from pipeline.signing.sbom import cyclonedx
from pipeline.signing.trust.certificates import CertificateSource
from pipeline.signing.trust.kinds import HashMethod

SIGNATURE = "signature.json"
SBOM = "cdx.json"
ATTESTATIONS = "intoto.jsonl"
BUNDLE = "sigstore.json"
BUNDLED_PROVENANCE = "provenance.sigstore.json"
_SUBJECT_DIGESTS = ("sha256", "sha512")


@dataclass(frozen=True)
class BuildFacts:
    """What a build says of itself and of the image, as JSON data; see ``Build`` for most of it.

    ``image``: name, distro, version, and what else was found of its system. ``boot_test`` and ``scan`` are the facts of
    those steps, ``packages`` the software found; ``None`` where a step was not asked for. ``products`` are the SHA-256
    of the files that all this is about, by format.
    """

    image: Mapping[str, str]
    recipe: str
    options: Mapping[str, Any]
    dependencies: Iterable[Mapping[str, Any]]
    tools: Mapping[str, str]
    accelerator: str
    steps: Iterable[Mapping[str, Any]]
    invocation: str
    started: str
    finished: str
    builder: str
    boot_test: Mapping[str, Any] | None = None
    scan: Mapping[str, Any] | None = None
    packages: Iterable[Mapping[str, str]] | None = None
    products: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: Any, *, name: str) -> BuildFacts:
        """Read JSON data of another machine. Raises ``PipelineError`` when it is something else."""
        try:
            made = cls(**data)
            made.build()
            made.sbom({"sha256": "0" * 64})
            made.products.items()
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise PipelineError(f"{name} does not describe a build: {error}") from None
        return made

    def require(self, disk_format: str, sha256: str, *, name: str) -> None:
        """Raise ``PipelineError`` unless the file with this digest is the one that was built, booted and scanned."""
        if disk_format not in self.products:
            known = ", ".join(sorted(self.products)) or "none: an older pipeline wrote it"
            raise PipelineError(
                f"{name}: the build's description tells of no {disk_format} file that was built (files: {known})",
                hint="sign what ./inv build left in its folder, nothing else",
            )
        if self.products.get(disk_format) != sha256:
            raise PipelineError(
                f"{name} is not the {disk_format} file that was built: boot test, scan and packages that the "
                "build tells of are another's",
                hint="copy the whole folder again, from the machine that built it",
            )

    def build(self) -> Build:
        """Return them as what provenance is made of."""
        return Build(
            recipe=self.recipe,
            options=self.options,
            dependencies=[Dependency(each["name"], each["uri"], each["digest"]) for each in self.dependencies],
            tools=self.tools,
            accelerator=self.accelerator,
            steps=[dict(each) for each in self.steps],
            invocation=self.invocation,
            started=self.started,
            finished=self.finished,
            builder=self.builder,
        )

    def sbom(self, digests: Mapping[str, str]) -> bytes | None:
        """Return the bill of materials of a file with these digests."""
        if self.packages is None:
            return None
        moment = datetime.datetime.fromisoformat(self.finished).astimezone(datetime.UTC)
        facts = dict(self.image)
        image = cyclonedx.SbomImage(facts.pop("name"), facts.pop("distro"), facts.pop("version"), digests, moment)
        taken = [cyclonedx.BuildMaterial.parse(each["uri"], each["digest"]) for each in self.dependencies]
        packages = [InstalledPackage(**each) for each in self.packages]
        return cyclonedx.make(image, packages, facts, [each for each in taken if each is not None])


@dataclass(frozen=True)
class Sealed:
    """A sealed file: its digests, its signature's properties, and the documents by their ending."""

    digests: Digests
    properties: Mapping[str, str]
    documents: Mapping[str, bytes]


def seal(
    digests: Digests,
    name: str,
    about: BuildFacts,
    signer: Signer,
    method: HashMethod,
    certificates: CertificateSource,
    *,
    attester: Signer | None = None,
    bundler: Signer | None = None,
) -> Sealed:
    """Return everything that seals the file of which these are the digests. ``name`` is what attestations call it.

    ``attester`` signs the attestations, if not ``signer`` does. ``bundler`` is a P-256 key that also signs the file and
    its provenance, both as sigstore bundles.
    """
    signed = image_signature.sign_digests(digests, signer, method)
    subject = Subject(name, {each: digests[each] for each in _SUBJECT_DIGESTS})
    documents = {SIGNATURE: _signature_document(name, digests, signed.properties, certificates)}
    sbom_document = about.sbom(digests.values)
    if sbom_document is not None:
        documents[SBOM] = sbom_document
    byproducts = [
        Dependency(ending, f"{name}.{ending}", {"sha256": hashlib.sha256(data).hexdigest()})
        for ending, data in documents.items()
    ]
    statements = list(_statements(about, subject, sbom_document, byproducts))
    envelopes = [Envelope.sign(statement.dump(), [attester or signer]) for statement in statements]
    documents[ATTESTATIONS] = "".join(f"{envelope.dump()}\n" for envelope in envelopes).encode()
    if bundler is not None:
        documents[BUNDLE] = bundle.of_file(digests.sha256, "sha256", bundler).encode()
        provenance = Envelope.sign(statements[0].dump(), [bundler])
        documents[BUNDLED_PROVENANCE] = bundle.of_envelope(provenance, bundler.public_key).encode()
    return Sealed(digests, signed.properties, documents)


def _statements(
    about: BuildFacts, subject: Subject, sbom_document: bytes | None, byproducts: Sequence[Dependency]
) -> Iterable[Statement]:
    subjects = [subject]
    yield dataclasses.replace(about.build(), byproducts=byproducts).statement(subjects)
    if about.boot_test is not None:
        yield boot_test(subjects, about.boot_test)
    if about.scan is not None:
        yield secret_scan(subjects, about.scan)
    if sbom_document is not None:
        yield Statement(subjects, CYCLONEDX, json_text.loads(sbom_document))


def _signature_document(
    name: str, digests: Digests, properties: Mapping[str, str], certificates: CertificateSource
) -> bytes:
    certificate = certificates.get(properties[image_signature.CERTIFICATE])
    data = {
        "name": name,
        "size": digests.size,
        "digests": dict(digests.values),
        "properties": dict(properties),
        # For whoever has no key manager; it counts only if the trust root vouches for it.
        "certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
    }
    return _dump(data)


def read_signature_document(text: bytes) -> dict[str, Any]:
    """Return a signature document's data; empty unless it is exactly as ``seal`` writes it, to the last byte."""
    try:
        data = json_text.loads(text)
        kinds = {"name": str, "size": int, "digests": dict, "properties": dict, "certificate": str}
        whole = set(data) == set(kinds) and all(isinstance(data[key], kind) for key, kind in kinds.items())
        return data if whole and data["digests"].get("sha256") and _dump(data) == text else {}
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}


def _dump(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()
