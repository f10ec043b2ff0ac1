"""Sign with keys that a token keeps (PKCS#11): smart cards, hardware security modules, SoftHSM. They never leave it.

A key is named by its ``pkcs11:`` URI (RFC 7512): ``pkcs11:token=release;object=images;id=%01``. The library that talks
to the token is named in the URI (``?module-path=…``) or by ``PIPELINE_PKCS11_MODULE``. The PIN comes from where
passphrases come from.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa, utils

from pipeline.base.errors import PipelineError
from pipeline.signing.keys.signer import not_for_images
from pipeline.signing.trust.kinds import HashMethod, KeyKind, PublicKey

_MODULES = (
    "/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so",
    "/usr/lib64/p11-kit-proxy.so",
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
)


@dataclass(frozen=True)
class Uri:
    """The parts of a ``pkcs11:`` URI that are used here."""

    token: str
    label: str | None
    id: bytes | None
    module: str

    @classmethod
    def parse(cls, text: str) -> Uri:
        """Read a ``pkcs11:`` URI. Raises ``PipelineError`` when it names no token or no key."""
        path, _, query = text.removeprefix("pkcs11:").partition("?")
        parts = _pairs(path, ";")
        token, label, identity = parts.get("token"), parts.get("object"), parts.get("id")
        if not text.startswith("pkcs11:") or not token or not (label or identity):
            raise PipelineError(
                f"{text!r} names no key in a token", hint="write pkcs11:token=TOKEN;object=LABEL;id=%01"
            )
        module = _pairs(query, "&").get("module-path", b"").decode() or _default_module()
        return cls(token.decode(), label.decode() if label else None, identity, module)


@dataclass(frozen=True)
class TokenSigner:
    """A key in a token. Each signature opens and ends a session of its own."""

    uri: Uri
    certificate: str
    public_key: PublicKey
    pin: bytes | None = field(repr=False)

    @classmethod
    def open(cls, uri: str, certificate: str, pin: bytes | None) -> TokenSigner:
        """Find the key. Raises ``PipelineError`` when token or key are not there, or the PIN is wrong."""
        return cls(Uri.parse(uri), certificate, public_key(uri, pin), pin)

    @property
    def kind(self) -> KeyKind:
        """What the key is."""
        return KeyKind.of(self.public_key)

    def sign_digest(self, digest: bytes, method: HashMethod) -> bytes:
        """See ``Signer.sign_digest``."""
        if isinstance(self.public_key, rsa.RSAPublicKey):
            # PSS.MAX_LENGTH (RFC 8017, 9.1.1): what is left of the encoded message.
            longest = (self.public_key.key_size + 6) // 8 - method.hash.digest_size - 2
            return self._sign_pss(digest, method, longest)
        if self.kind.is_ec and self.kind.image_key_type:
            return self._sign_ecdsa(digest)
        raise not_for_images(self.kind)

    def sign_message(self, message: bytes) -> bytes:
        """See ``Signer.sign_message``."""
        method = self.kind.message_hash
        hasher = hashes.Hash(method.hash)
        hasher.update(message)
        digest = hasher.finalize()
        if self.kind.is_rsa:
            return self._sign_pss(digest, method, method.hash.digest_size)
        return self._sign_ecdsa(digest)

    def sign_prehashed(self, digest: bytes) -> bytes:
        """See ``Signer.sign_prehashed``."""
        if not self.kind.is_ec:
            raise PipelineError(f"{self.kind} keys don't sign digests alone")
        return self._sign_ecdsa(digest)

    def _sign_pss(self, digest: bytes, method: HashMethod, salt: int) -> bytes:
        import pkcs11

        parameters = (pkcs11.Mechanism[method.name], pkcs11.MGF[method.name], salt)
        with self._key() as key:
            return bytes(key.sign(digest, mechanism=pkcs11.Mechanism.RSA_PKCS_PSS, mechanism_param=parameters))

    def _sign_ecdsa(self, digest: bytes) -> bytes:
        import pkcs11

        with self._key() as key:
            raw = bytes(key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA))
        half = len(raw) // 2
        # Tokens answer r and s side by side; everybody else wants DER.
        return utils.encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))

    @contextlib.contextmanager
    def _key(self) -> Iterator[Any]:
        import pkcs11

        with _session(self.uri, self.pin) as session:
            yield session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=self.uri.label, id=self.uri.id)


def public_key(uri: str, pin: bytes | None) -> PublicKey:
    """Return the public part of a key in a token."""
    import pkcs11
    from pkcs11.util import ec as ec_util
    from pkcs11.util import rsa as rsa_util

    parsed = Uri.parse(uri)
    with _session(parsed, pin) as session:
        key = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=parsed.label, id=parsed.id)
        encode = {
            pkcs11.KeyType.RSA: rsa_util.encode_rsa_public_key,
            pkcs11.KeyType.EC: ec_util.encode_ec_public_key,
        }.get(key.key_type)
        if encode is None:
            raise PipelineError(
                f"the token's key is of type {key.key_type.name}", hint="use RSA, P-256, P-384 or P-521"
            )
        der = encode(key)
    loaded = serialization.load_der_public_key(der)
    KeyKind.of(loaded)
    return loaded  # type: ignore[return-value]  # KeyKind.of refuses every other kind


@contextlib.contextmanager
def _session(uri: Uri, pin: bytes | None) -> Iterator[Any]:
    """Provide a session with the token, its errors in plain words."""
    try:
        import pkcs11
    except ImportError:
        raise PipelineError("the Python package python-pkcs11 is not installed", hint="run ./inv again") from None
    wrong_pin = (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange, pkcs11.UserNotLoggedIn)
    try:
        library = pkcs11.lib(uri.module)
        # A token may have been plugged in, or a key made, since the library was loaded.
        library.reinitialize()
        with library.get_token(token_label=uri.token).open(user_pin=pin.decode() if pin else None) as session:
            yield session
    except wrong_pin:
        raise PipelineError(
            f"the token {uri.token} does not accept the PIN",
            hint="it is looked for like a passphrase: PIPELINE_KEY_PASSPHRASE_FILE, PIPELINE_KEY_PASSPHRASE; "
            "beware: tokens lock themselves after a few wrong ones",
        ) from None
    except pkcs11.PinLocked:
        raise PipelineError(
            f"the token {uri.token} has locked its PIN", hint="unlock it as its owner (SO PIN)"
        ) from None
    except pkcs11.NoSuchToken:
        raise PipelineError(f"there is no token {uri.token!r} behind {uri.module}") from None
    except pkcs11.NoSuchKey:
        named = uri.label or f"id {uri.id.hex() if uri.id else ''}"
        raise PipelineError(
            f"the token {uri.token} has no key {named}, or not both of its parts",
            hint="pkcs11-tool --module MODULE --list-objects --login shows what it has",
        ) from None
    except pkcs11.MultipleObjectsReturned:
        raise PipelineError(f"the token {uri.token} has several such keys", hint="name the key's id too") from None
    except pkcs11.PKCS11Error as error:
        raise PipelineError(f"the token {uri.token} refused: {type(error).__name__} {error}".rstrip()) from None


def _pairs(text: str, separator: str) -> dict[str, bytes]:
    parts = (part.partition("=") for part in text.split(separator) if part)
    return {name: unquote_to_bytes(value) for name, _, value in parts}


def _default_module() -> str:
    named = os.environ.get("PIPELINE_PKCS11_MODULE")
    if named:
        return named
    for module in _MODULES:
        if Path(module).exists():
            return module
    raise PipelineError(
        "no PKCS#11 module is known", hint="set PIPELINE_PKCS11_MODULE to the library of the token's maker"
    )
