"""``./inv verify``: an image in a cloud, a file or a folder against the trust root and a policy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.face.task import Exit
from pipeline.image.sparse import read_blocks
from pipeline.signing import proof, seal
from pipeline.signing.certificates import CertificateMissing, LocalCertificates
from pipeline.signing.evidence import Evidence
from pipeline.signing.keyring import Keyring
from pipeline.signing.policy import Policy
from pipeline.signing.trust import TrustRoot
from pipeline.signing.verification import Status, Verdict, verify

_STYLES = {Status.GOOD: "green", Status.BAD: "bold red", Status.ABSENT: "yellow"}


def run(home: Home, target: str, *, cloud: str, policy: str, trust: str, as_json: bool) -> None:
    """Print the verdicts; end with status 1 when one is bad."""
    demands = Policy.read(Path(policy)) if policy else Policy()
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
    found = sorted(
        each for each in path.iterdir() if any(path.joinpath(f"{each.name}.{ending}").is_file() for ending in endings)
    )
    if not found:
        raise PipelineError(f"{path} has no sealed image (a file with .{seal.SIGNATURE} or .{proof.ENDING} beside it)")
    return found


def _file(home: Home, path: Path, root: TrustRoot, policy: Policy) -> Verdict:
    documents = {ending: _beside(path, ending) for ending in (seal.SIGNATURE, seal.ATTESTATIONS, seal.SBOM)}
    packed = _beside(path, proof.ENDING)
    if packed is not None and not any(documents.values()):
        documents.update(proof.unpack(packed))
    evidence = Evidence(
        signature_document=documents[seal.SIGNATURE],
        attestations=documents[seal.ATTESTATIONS],
        bill=documents[seal.SBOM],
    )
    certificates = LocalCertificates(home.certificates)
    return verify(path.name, read_blocks(path), evidence, root, policy, certificates=certificates)


def _beside(path: Path, ending: str) -> bytes | None:
    try:
        return path.with_name(f"{path.name}.{ending}").read_bytes()
    except FileNotFoundError:
        return None


def _image(home: Home, wanted: str, cloud: str, root: TrustRoot, policy: Policy) -> Verdict:
    from pipeline.publishing import clouds, proofs

    api = clouds.connect(home, cloud or clouds.BUNDLED)
    record = proofs.find(api, wanted)
    evidence = proofs.evidence(api, record)
    certificates = _AlsoInCloud(home, cloud or clouds.BUNDLED)
    with api.download(record.id) as blocks:
        return verify(f"{record.name} ({record.id})", _bytes(blocks), evidence, root, policy, certificates=certificates)


@dataclass(frozen=True)
class _AlsoInCloud:
    """Certificates of our own, then those of the cloud's key manager."""

    home: Home
    cloud: str

    def get(self, identity: str) -> x509.Certificate:
        """See ``CertificateSource``."""
        try:
            return LocalCertificates(self.home.certificates).get(identity)
        except CertificateMissing as missing:
            from pipeline.publishing import clouds

            if self.cloud == clouds.BUNDLED and not clouds.is_operators(self.cloud):
                raise  # the bundled service has no key manager beside it
            from pipeline.signing.key_manager import KeyManager

            auth, project = clouds.session(self.home, self.cloud)
            try:
                return KeyManager(auth, project=project).get(identity)
            except CertificateMissing as also:
                raise CertificateMissing(f"{missing.message}; {also.message}", hint=also.hint) from None


def _bytes(blocks: Iterator[bytes]) -> Iterator[bytes]:
    for block in blocks:
        yield bytes(block)


def _show(verdict: Verdict) -> None:
    console = Console(highlight=False)
    console.print(Text(verdict.name, "bold"))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in verdict.findings:
        table.add_row(f"  {finding.check}", Text(finding.status, _STYLES[finding.status]), finding.detail)
    console.print(table)
    good = Text("verified", "bold green") if verdict.is_good else Text("NOT verified", "bold red")
    console.print(Text.assemble("  ", good))
