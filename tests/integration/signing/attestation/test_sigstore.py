"""Our bundles must satisfy sigstore's own verifier."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.system import process
from pipeline.signing.attestation import bundle
from pipeline.signing.attestation.dsse import Envelope
from pipeline.signing.attestation.statement import Statement, Subject
from pipeline.signing.keys.signer import SoftwareSigner
from pipeline.signing.trust import pem
from pipeline.signing.trust.kinds import KeyKind
from tests.environments import node
from tests.environments.fixtures import installed

pytestmark = pytest.mark.subprocess
SIGNER = SoftwareSigner(KeyKind.P256.generate(), "")
STATEMENT = Statement([Subject("disk", {"sha256": "ab" * 32})], "https://example.com/x", {})


@pytest.fixture(scope="module")
def oracle() -> Iterator[Path]:
    with installed(node.environment("sigstore")) as folder:
        yield folder


def verdict(oracle: Path, folder: Path, text: str, file: Path | None = None) -> str:
    (folder / "bundle.json").write_text(text)
    (folder / "key.pem").write_bytes(pem.write_public(SIGNER.public_key))
    words: list[str | Path] = [
        "node",
        oracle / "verify.js",
        folder / "bundle.json",
        folder / "key.pem",
        bundle.hint(SIGNER.public_key),
    ]
    return process.run([*words, *([file] if file else [])], check=False, cwd=oracle).stdout.strip()


def test_an_attestation(oracle: Path, tmp_path: Path) -> None:
    made = bundle.of_envelope(Envelope.sign(STATEMENT.dump(), [SIGNER]), SIGNER.public_key)
    assert verdict(oracle, tmp_path, made) == "verified"
    data = json.loads(made)
    data["dsseEnvelope"]["payload"] = data["dsseEnvelope"]["payload"].replace("e", "f", 1)
    assert verdict(oracle, tmp_path, json.dumps(data)).startswith("SIGNATURE_ERROR")


def test_a_file(oracle: Path, tmp_path: Path) -> None:
    file = tmp_path / "image"
    file.write_bytes(b"image" * 1000)
    made = bundle.of_file(hashlib.sha256(file.read_bytes()).hexdigest(), "sha256", SIGNER)
    assert verdict(oracle, tmp_path, made, file) == "verified"
    file.write_bytes(b"Image" * 1000)
    assert verdict(oracle, tmp_path, made, file).startswith("SIGNATURE_ERROR")


def test_what_a_bundle_cannot_hold() -> None:
    twice = Envelope.sign(b"x", [SIGNER, SoftwareSigner(KeyKind.P256.generate(), "")])
    with pytest.raises(PipelineError, match="exactly one"):
        bundle.of_envelope(twice, SIGNER.public_key)
    with pytest.raises(PipelineError, match="EC keys"):
        bundle.of_file("00" * 32, "sha256", SoftwareSigner(KeyKind.RSA2048.generate(), ""))
