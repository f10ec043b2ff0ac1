"""Write Sigstore bundles (v0.3), keyed and offline: our signatures in the form that sigstore's verifiers read.

The key travels as a hint only; whoever verifies brings it. Such a bundle is in no transparency log.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives import serialization

from pipeline.base.errors import PipelineError
from pipeline.signing.attestation.dsse import Envelope
from pipeline.signing.keys.signer import Signer
from pipeline.signing.trust.kinds import KeyKind, PublicKey

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_DIGESTS = {"sha256": "SHA2_256", "sha384": "SHA2_384", "sha512": "SHA2_512"}


def hint(public: PublicKey) -> str:
    """Return what a bundle calls a key, as cosign does: base64 of SHA-256 of the DER SubjectPublicKeyInfo."""
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def of_envelope(envelope: Envelope, public: PublicKey) -> str:
    """Return an attestation as a bundle. Raises ``PipelineError`` unless the envelope has exactly one signature."""
    if len(envelope.signatures) != 1:
        raise PipelineError("a sigstore bundle holds an envelope with exactly one signature")
    data = envelope.as_data()
    data["signatures"][0]["keyid"] = hint(public)
    return _dump(public, {"dsseEnvelope": data})


def of_file(digest: str, algorithm: str, signer: Signer) -> str:
    """Return a signature over a file as a bundle; ``digest`` (hex) is the file's, already computed.

    The ECDSA kinds only, each with the digest that goes with it: they are what cosign verifies without further options.
    """
    required = signer.kind.message_hash.algorithm
    if not signer.kind.is_ec or algorithm != required:
        raise PipelineError(f"sigstore bundles over files are made with EC keys and their digest, not {signer.kind}")
    raw = bytes.fromhex(digest)
    signature = signer.sign_prehashed(raw)
    content = {
        "messageDigest": {"algorithm": _DIGESTS[algorithm], "digest": base64.b64encode(raw).decode()},
        "signature": base64.b64encode(signature).decode(),
    }
    return _dump(signer.public_key, {"messageSignature": content})


def _dump(public: PublicKey, content: dict[str, Any]) -> str:
    if KeyKind.of(public) is KeyKind.DSA:
        raise PipelineError("sigstore knows no DSA keys")
    material = {"publicKey": {"hint": hint(public)}, "tlogEntries": []}
    return json.dumps({"mediaType": MEDIA_TYPE, "verificationMaterial": material, **content}, indent=2) + "\n"
