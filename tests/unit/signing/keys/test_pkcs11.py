"""Keys in a token: SoftHSM stands for the real ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.signing import image_signature
from pipeline.signing.keys import pkcs11
from pipeline.signing.keys.keyring import Keyring
from pipeline.signing.keys.signer import verify_message
from pipeline.signing.trust.certificates import key_id
from pipeline.signing.trust.kinds import HashMethod, KeyKind

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
pytestmark = [
    pytest.mark.subprocess,
    pytest.mark.skipif(not shutil.which("softhsm2-util"), reason="SoftHSM is not installed (package softhsm2)"),
]
PIN = b"1234567890"
KEYS = {"p384": "EC:secp384r1", "p521": "EC:secp521r1", "rsa2048": "rsa:2048", "p256": "EC:prime256v1"}


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A token with a key of each kind; kind → URI."""
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    (folder / "conf").write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    # SoftHSM reads it when its library is loaded, once for the whole process.
    os.environ["SOFTHSM2_CONF"] = str(folder / "conf")
    pin = PIN.decode()
    words = ["softhsm2-util", "--init-token", "--free", "--label", "release", "--so-pin", "87654321", "--pin", pin]
    subprocess.run(words, check=True, capture_output=True)
    import pkcs11 as library

    library.lib(MODULE).reinitialize()
    with library.lib(MODULE).get_token(token_label="release").open(rw=True, user_pin=pin) as session:
        for number, (kind, spec) in enumerate(KEYS.items(), 1):
            family, size = spec.split(":")
            if family == "rsa":
                session.generate_keypair(library.KeyType.RSA, int(size), store=True, label=kind, id=bytes([number]))
            else:
                from pkcs11.util.ec import encode_named_curve_parameters

                names = {"secp384r1": "secp384r1", "secp521r1": "secp521r1", "prime256v1": "secp256r1"}
                parameters = session.create_domain_parameters(
                    library.KeyType.EC,
                    {library.Attribute.EC_PARAMS: encode_named_curve_parameters(names[size])},
                    local=True,
                )
                parameters.generate_keypair(store=True, label=kind, id=bytes([number]))
    return {
        kind: f"pkcs11:token=release;object={kind};id=%{number:02x}?module-path={MODULE}"
        for number, kind in enumerate(KEYS, 1)
    }


@pytest.fixture
def ring(home: Home) -> Keyring:
    return Keyring(home, passphrases=lambda name: None if name == "ca" else PIN)


@pytest.mark.parametrize("method", HashMethod)
@pytest.mark.parametrize("kind", ["p384", "p521", "rsa2048"])
def test_images_are_signed_in_the_token(
    token: dict[str, str], ring: Keyring, tmp_path: Path, kind: str, method: HashMethod
) -> None:
    ring.attach("hsm", token[kind])
    signer = ring.signer("hsm")
    assert signer.kind == kind
    image, signature, public = tmp_path / "image", tmp_path / "sig", tmp_path / "pub"
    image.write_bytes(b"image" * 10_000)
    properties = image_signature.sign(image, signer, method).properties
    image_signature.verify_file(image, properties, ring.certificates)
    import base64

    signature.write_bytes(base64.b64decode(properties["img_signature"]))
    public.write_bytes((ring.folder / "hsm" / "1.pub.pem").read_bytes())
    options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:max"] if kind == "rsa2048" else []
    words: list[str | Path] = [
        "openssl",
        "dgst",
        f"-{method.algorithm}",
        "-verify",
        public,
        *options,
        "-signature",
        signature,
        image,
    ]
    subprocess.run(words, check=True, capture_output=True)


@pytest.mark.parametrize("kind", list(KEYS))
def test_messages_are_signed_in_the_token(token: dict[str, str], ring: Keyring, kind: str) -> None:
    ring.attach("hsm", token[kind])
    signer = ring.signer("hsm")
    verify_message(signer.public_key, b"an envelope", signer.sign_message(b"an envelope"))


def test_no_private_key_is_on_disk(token: dict[str, str], ring: Keyring) -> None:
    record = ring.attach("hsm", token["p384"])
    assert record.active.kind is KeyKind.P384
    assert sorted(path.name for path in (ring.folder / "hsm").iterdir()) == ["1.pub.pem", "key.json"]
    assert PIN.decode() not in (ring.folder / "hsm" / "key.json").read_text()
    assert key_id(ring.signer("hsm").public_key) == record.active.key_id


def test_errors_are_in_plain_words(token: dict[str, str], home: Home) -> None:
    def attach(uri: str, pin: bytes | None = PIN) -> str:
        with pytest.raises(PipelineError) as error:
            Keyring(home, passphrases=lambda name: None if name == "ca" else pin).attach("hsm", uri)
        return str(error.value)

    assert "does not accept the PIN" in attach(token["p384"], b"0000000000")
    assert "no token 'other'" in attach(f"pkcs11:token=other;object=x?module-path={MODULE}")
    assert "has no key nothing" in attach(f"pkcs11:token=release;object=nothing?module-path={MODULE}")
    assert "names no key" in attach("pkcs11:token=release")
    assert "names no key" in attach("file:x")
    assert "nonexistent" in attach("pkcs11:token=release;object=x?module-path=/nonexistent.so")


def test_uris(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_PKCS11_MODULE", "/the/module.so")
    uri = pkcs11.Uri.parse("pkcs11:token=a%20b;object=k;id=%01%ff")
    assert uri == pkcs11.Uri("a b", "k", b"\x01\xff", "/the/module.so")
