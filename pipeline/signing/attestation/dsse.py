"""Sign and read DSSE envelopes: a payload, its type, and signatures over both (secure-systems-lab/dsse, protocol
1.0.2).

What is verified is exactly what is handed on: bytes first, meaning afterwards. A key id in an envelope is a hint that
nobody signed; keys come from whoever verifies.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from cryptography.exceptions import InvalidSignature

from pipeline.base import json_text
from pipeline.base.errors import PipelineError
from pipeline.signing.keys.signer import Signer, verify_message
from pipeline.signing.trust.certificates import key_id
from pipeline.signing.trust.kinds import PublicKey

IN_TOTO = "application/vnd.in-toto+json"
_MAX_BYTES = 64 << 20
_MAX_SIGNATURES = 16


class EnvelopeRefused(PipelineError):
    """An envelope that is malformed, or that no trusted key signed."""


@dataclass(frozen=True)
class EnvelopeSignature:
    """One signature. ``keyid`` is a hint."""

    keyid: str
    sig: bytes


@dataclass(frozen=True)
class Envelope:
    """A signed payload."""

    payload: bytes
    payload_type: str
    signatures: Sequence[EnvelopeSignature]

    @classmethod
    def sign(cls, payload: bytes, signers: Iterable[Signer], *, payload_type: str = IN_TOTO) -> Self:
        """Wrap and sign ``payload``."""
        message = encode(payload_type, payload)
        made = [EnvelopeSignature(key_id(signer.public_key), signer.sign_message(message)) for signer in signers]
        return cls(payload, payload_type, made)

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """Parse JSON. Raises ``EnvelopeRefused``; unknown fields are ignored, as the protocol wants."""
        if len(text) > _MAX_BYTES:
            raise EnvelopeRefused(f"the envelope is larger than {_MAX_BYTES >> 20} MiB")
        try:
            data = json_text.loads(text)
            signatures = [
                EnvelopeSignature(str(each.get("keyid", "")), _decoded(each["sig"])) for each in data["signatures"]
            ]
            made = cls(_decoded(data["payload"]), str(data["payloadType"]), signatures)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise EnvelopeRefused(f"this is no DSSE envelope: {type(error).__name__} {error}") from None
        if not 1 <= len(made.signatures) <= _MAX_SIGNATURES:
            raise EnvelopeRefused(
                f"the envelope has {len(made.signatures)} signatures; 1 to {_MAX_SIGNATURES} make sense"
            )
        return made

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "payload": _encoded(self.payload),
            "payloadType": self.payload_type,
            "signatures": [{"keyid": each.keyid, "sig": _encoded(each.sig)} for each in self.signatures],
        }

    def dump(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(self.as_data(), separators=(",", ":"))

    def verify(self, keys: Mapping[str, PublicKey], *, threshold: int = 1, payload_type: str = IN_TOTO) -> list[str]:
        """Return the ids of those of ``keys`` (by id) that signed. Raises ``EnvelopeRefused`` when they are too few."""
        if self.payload_type != payload_type:
            raise EnvelopeRefused(f"the envelope holds {self.payload_type}, not {payload_type}")
        message = encode(self.payload_type, self.payload)
        good = sorted(identity for identity, key in keys.items() if self._signed_by(key, message))
        if len(good) < threshold:
            hints = ", ".join(each.keyid[:16] or "unnamed" for each in self.signatures)
            raise EnvelopeRefused(
                f"{len(good)} of {threshold} trusted keys signed the envelope, or it was changed (it names {hints})"
            )
        return good

    def _signed_by(self, key: PublicKey, message: bytes) -> bool:
        for each in self.signatures:
            try:
                verify_message(key, message, each.sig)
            except (InvalidSignature, PipelineError):
                continue
            return True
        return False


def encode(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed (PAE): lengths make it impossible to move the border between
    type and payload.
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError("base64 text expected")
    # The protocol allows both alphabets.
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        data = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if base64.b64encode(data).decode().rstrip("=") != plain:
        raise ValueError("base64 with bits that mean nothing")
    return data
