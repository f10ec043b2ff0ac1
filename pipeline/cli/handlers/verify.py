"""Carry out ``./inv verify``: check an image in a cloud, a file or a folder against trust roots and a policy."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from rich.text import Text

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.terminal import SafeConsole, SafeTable
from pipeline.cli.task import Exit
from pipeline.image.sparse import read_blocks
from pipeline.signing.attestation import proof, seal
from pipeline.signing.attestation.evidence import Evidence
from pipeline.signing.keys.keyring import Keyring
from pipeline.signing.trust.certificates import CertificateMissing, LocalCertificates
from pipeline.signing.verification.policy import VerificationPolicy
from pipeline.signing.verification.trust_roots import TrustRoot
from pipeline.signing.verification.verify import CheckStatus, VerificationResult, verify

_STYLES = {CheckStatus.GOOD: "green", CheckStatus.BAD: "bold red", CheckStatus.ABSENT: "yellow"}


def run(home: Home, target: str, *, cloud: str, policy: str, trust: str, as_json: bool) -> None:
    """Print the verdicts; end with status 1 when one is bad."""
    demands = VerificationPolicy.read(Path(policy)) if policy else VerificationPolicy()
    root = TrustRoot.read(Path(trust)) if trust else _own(home)
    local = Path(target)
    if not cloud and local.exists():
        verdicts = [_file(home, each, root, demands) for each in _images(local)]
    else:
        verdicts = [_image(home, target, cloud, root, demands)]
    if as_json:
        print(json.dumps([verdict.as_data() for verdict in verdicts], indent=2))
    else:
        for verdict in verdicts:
            _show(verdict)
    if not all(verdict.is_good for verdict in verdicts):
        raise SystemExit(Exit.FAILED)


def export_trust(home: Home, target: str) -> None:
    """Write what this installation trusts."""
    root = _own(home)
    atomic.write_text(Path(target), root.dump())
    print(f"{target}: {len(root.keys)} keys, {len(root.authorities)} authorities, {len(root.revoked)} revoked")


def _own(home: Home) -> TrustRoot:
    root = TrustRoot.of(Keyring(home))
    if not root.keys and not root.authorities:
        raise PipelineError(
            "there are no keys here, so nothing is trusted", hint="name a trust root: --trust FILE (./inv keys.trust)"
        )
    return root


def _images(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    endings = (seal.SIGNATURE, proof.ENDING)
    found = sorted(each for each in path.iterdir() if any(os.path.lexists(f"{each}.{ending}") for ending in endings))
    if not found:
        raise PipelineError(
            f"{path} has no signed image: no file with .{seal.SIGNATURE} or .{proof.ENDING} beside it",
            hint="./inv sign signs the images in a folder",
        )
    return found


def _file(home: Home, path: Path, root: TrustRoot, policy: VerificationPolicy) -> VerificationResult:
    _require_file(path)
    documents = {ending: _companion(path, ending) for ending in (seal.SIGNATURE, seal.ATTESTATIONS, seal.SBOM)}
    packed = _companion(path, proof.ENDING)
    if packed is not None and not any(documents.values()):
        documents.update(proof.unpack(packed))
    evidence = Evidence(
        signature_document=documents[seal.SIGNATURE],
        attestations=documents[seal.ATTESTATIONS],
        sbom=documents[seal.SBOM],
    )
    certificates = LocalCertificates(home.certificates)
    return verify(path.name, read_blocks(path), evidence, root, policy, certificates=certificates)


def _companion(path: Path, ending: str) -> bytes | None:
    file = path.with_name(f"{path.name}.{ending}")
    if not os.path.lexists(file):
        return None
    _require_file(file)
    if file.stat().st_size > proof.MAX_BYTES:
        raise PipelineError(f"{file} is larger than {proof.MAX_BYTES >> 20} MiB: that is no document of an image")
    return file.read_bytes()


def _require_file(path: Path) -> None:
    """Raise ``PipelineError`` for what whoever made the folder put in a file's place: reading it might never end."""
    if not path.is_file():
        raise PipelineError(f"{path} is no regular file", hint="ask whoever made the folder for the file itself")


def _image(home: Home, identifier: str, cloud: str, root: TrustRoot, policy: VerificationPolicy) -> VerificationResult:
    from pipeline.publishing.cloud import connect as cloud_connect
    from pipeline.publishing.sources import proofs
    from pipeline.publishing.transaction import known_project

    api = known_project.recalled(home, cloud_connect.connect(home, cloud or cloud_connect.BUNDLED))
    record = proofs.find(api, identifier)
    evidence = proofs.evidence(api, record)
    certificates = _CloudFallback(home, cloud or cloud_connect.BUNDLED)
    with api.download(record.id) as image:
        name = f"{record.name} ({record.id})"
        return verify(name, _bytes(image.blocks), evidence, root, policy, certificates=certificates)


@dataclass(frozen=True)
class _CloudFallback:
    """Certificates of our own, then those of the cloud's key manager."""

    home: Home
    cloud: str

    def get(self, identity: str) -> x509.Certificate:
        """See ``CertificateSource``."""
        try:
            return LocalCertificates(self.home.certificates).get(identity)
        except CertificateMissing as missing:
            from pipeline.publishing.cloud import connect as cloud_connect

            if self.cloud == cloud_connect.BUNDLED and not cloud_connect.is_operators(self.cloud):
                raise  # the bundled service has no key manager next to it
            from pipeline.signing.keys.key_manager import KeyManager

            auth, project = cloud_connect.session(self.home, self.cloud)
            try:
                return KeyManager(auth, project=project).get(identity)
            except CertificateMissing as also:
                raise CertificateMissing(f"{missing.message}; {also.message}", hint=also.hint) from None


def _bytes(blocks: Iterator[bytes]) -> Iterator[bytes]:
    for block in blocks:
        yield bytes(block)


def _show(verdict: VerificationResult) -> None:
    console = SafeConsole()
    console.print(Text(verdict.name, "bold"))
    table = SafeTable(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in verdict.findings:
        table.add_row(f"  {finding.check}", Text(finding.status, _STYLES[finding.status]), finding.detail)
    console.print(table)
    good = Text("verified", "bold green") if verdict.is_good else Text("NOT verified", "bold red")
    console.print(Text.assemble("  ", good))
