"""Read and write what a verifier trusts, in one file without secrets: authorities, keys, and which keys are revoked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from pipeline.base import json_text
from pipeline.base.errors import PipelineError
from pipeline.signing.keys.key_folder import AUTHORITY
from pipeline.signing.keys.keyring import Keyring
from pipeline.signing.trust import pem
from pipeline.signing.trust.certificates import CertificateMissing, key_id, parse
from pipeline.signing.trust.kinds import KeyKind, PublicKey

FORMAT = 1
_MAX_BYTES = 4 << 20


@dataclass(frozen=True)
class TrustRoot:
    """``authorities`` vouch for image certificates; ``keys`` (by id) sign attestations; ``revoked`` says why, by id."""

    authorities: Sequence[x509.Certificate]
    keys: Mapping[str, PublicKey]
    revoked: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, keyring: Keyring) -> Self:
        """Return what this installation trusts: its own keys, retired ones too, and every authority among its
        certificates.
        """
        keys: dict[str, PublicKey] = {}
        revoked: dict[str, str] = {}
        for name in keyring.names():
            for generation in keyring.record(name).generations:
                if not generation.state.is_trusted:
                    revoked[generation.key_id] = generation.reason
                elif name != AUTHORITY:
                    keys[generation.key_id] = _public(
                        (keyring.folder / name / f"{generation.number}.pub.pem").read_bytes(), name
                    )
        found = [keyring.certificates.get(identity) for identity in keyring.certificates.identities()]
        return cls([each for each in found if _is_authority(each)], keys, revoked)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that ``dump`` wrote. Raises ``PipelineError`` in plain words."""
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise ValueError("too large")
            data = json_text.loads(path.read_bytes())
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']}")
            authorities = [parse(str(each).encode(), name=path.name) for each in data["authorities"]]
            public = [_public(str(each).encode(), path.name) for each in data["keys"]]
            revoked = {str(name): str(reason) for name, reason in data["revoked"].items()}
        except OSError as error:
            raise PipelineError(f"the trust root {path} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, CertificateMissing) as error:
            raise PipelineError(f"{path} is no trust root: {error}", hint="./inv keys.trust FILE writes one") from None
        return cls(authorities, {key_id(each): each for each in public}, revoked)

    def dump(self) -> str:
        """Return it as the text of a file."""
        data: dict[str, Any] = {
            "format": FORMAT,
            "authorities": [each.public_bytes(serialization.Encoding.PEM).decode() for each in self.authorities],
            "keys": [pem.write_public(each).decode() for each in self.keys.values()],
            "revoked": dict(self.revoked),
        }
        return json.dumps(data, indent=1) + "\n"

    @property
    def trusted_authorities(self) -> Sequence[x509.Certificate]:
        """The authorities that are not revoked."""
        return [each for each in self.authorities if key_id(each.public_key()) not in self.revoked]

    @property
    def trusted_keys(self) -> Mapping[str, PublicKey]:
        """The keys that are not revoked."""
        return {identity: key for identity, key in self.keys.items() if identity not in self.revoked}


def _public(data: bytes, name: str) -> PublicKey:
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PipelineError(f"{name} has a public key that cannot be read: {error}") from None
    KeyKind.of(key)
    return key  # type: ignore[return-value]  # KeyKind.of refuses every other kind


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, ValueError):
        return False
