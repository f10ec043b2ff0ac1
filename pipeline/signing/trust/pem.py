"""Write and read private keys as text: PEM, PKCS#8, encrypted with a key derivation that takes a guesser seconds.

``cryptography`` and OpenSSL write encrypted PKCS#8 with 2048 rounds of PBKDF2; so the container is written here:
PBES2 (RFC 8018) with 600,000 rounds of PBKDF2-HMAC-SHA-256 and AES-256-CBC, which both of them read.
"""

from __future__ import annotations

import base64
import os
import textwrap

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from pipeline.base.errors import PipelineError
from pipeline.signing.trust.kinds import KeyKind, PrivateKey, PublicKey

ROUNDS = 600_000
# DER of the object identifiers (RFC 8018, RFC 8017, NIST CSOR).
_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2 = bytes.fromhex("06092a864886f70d01050c")
_HMAC_SHA256 = bytes.fromhex("06082a864886f70d0209") + b"\x05\x00"
_AES256_CBC = bytes.fromhex("060960864801650304012a")


def write(key: PrivateKey, passphrase: bytes | None) -> bytes:
    """Return the key as PEM, encrypted when there is a passphrase."""
    encoding = serialization.Encoding.PEM if passphrase is None else serialization.Encoding.DER
    plain = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    if passphrase is None:
        return plain
    body = textwrap.fill(base64.b64encode(_encrypted(plain, passphrase)).decode(), 64)
    return f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}\n-----END ENCRYPTED PRIVATE KEY-----\n".encode()


def write_public(key: PublicKey) -> bytes:
    """Return the public key as PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def read(data: bytes, passphrase: bytes | None, *, name: str) -> PrivateKey:
    """Return the key in ``data``. Raises ``PipelineError`` in plain words for each thing that can be wrong."""
    try:
        key = serialization.load_pem_private_key(data, passphrase)
    except TypeError:
        if passphrase is None:
            raise PipelineError(
                f"the key {name} is encrypted and there is no passphrase", hint=PASSPHRASE_HINT
            ) from None
        raise PipelineError(f"the key {name} is not encrypted, but a passphrase was given") from None
    except ValueError:
        if passphrase is not None and b"ENCRYPTED" in data:
            raise PipelineError(f"the passphrase for the key {name} is wrong", hint=PASSPHRASE_HINT) from None
        raise PipelineError(f"the key {name} is not a private key in PEM (PKCS#8)") from None
    except UnsupportedAlgorithm as error:
        raise PipelineError(f"the key {name} cannot be used: {error}") from None
    KeyKind.of(key)
    return key  # type: ignore[return-value]  # KeyKind.of refuses every other kind


PASSPHRASE_HINT = (
    "set PIPELINE_KEY_PASSPHRASE_FILE to a file that holds it (mode 0600), or PIPELINE_KEY_PASSPHRASE, "  # noqa: S105
    "or run on a terminal to be asked"
)


def _encrypted(plain: bytes, passphrase: bytes) -> bytes:
    salt, iv = os.urandom(16), os.urandom(16)
    secret = PBKDF2HMAC(hashes.SHA256(), 32, salt, ROUNDS).derive(passphrase)
    padder = padding.PKCS7(128).padder()
    cipher = Cipher(algorithms.AES(secret), modes.CBC(iv)).encryptor()
    data = cipher.update(padder.update(plain) + padder.finalize()) + cipher.finalize()
    derivation = _sequence(_PBKDF2, _sequence(_octets(salt), _integer(ROUNDS), _sequence(_HMAC_SHA256)))
    scheme = _sequence(_PBES2, _sequence(derivation, _sequence(_AES256_CBC, _octets(iv))))
    return _sequence(scheme, _octets(data))


def _sequence(*parts: bytes) -> bytes:
    return _tagged(0x30, b"".join(parts))


def _octets(data: bytes) -> bytes:
    return _tagged(0x04, data)


def _integer(number: int) -> bytes:
    return _tagged(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _tagged(tag: int, body: bytes) -> bytes:
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body
