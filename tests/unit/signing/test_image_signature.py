"""Our signatures against other people's verifiers, and theirs against ours."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from castellan.common.objects import x_509
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cursive import exception as cursive_exception
from cursive import signature_utils
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.base.errors import PipelineError
from pipeline.signing import image_signature
from pipeline.signing.image_signature import SignatureReason, SignatureRefused, Verifier
from pipeline.signing.keys.signer import SoftwareSigner
from pipeline.signing.trust import certificates, pem
from pipeline.signing.trust.certificates import Authority, LocalCertificates
from pipeline.signing.trust.kinds import HashMethod, KeyKind, PrivateKey

pytestmark = pytest.mark.subprocess

DATA = b"an image, byte by byte " * 100_003
KINDS = [KeyKind.P384, KeyKind.P521, KeyKind.RSA2048, KeyKind.RSA3072, KeyKind.RSA4096, KeyKind.DSA]


class World:
    """One key of each kind with its certificate, and an image."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "image"
        self.image.write_bytes(DATA)
        self.store = LocalCertificates(folder / "certificates")
        self.folder = folder
        authority = Authority.new(KeyKind.P384.generate())
        self.signers: dict[KeyKind, SoftwareSigner] = {}
        for kind in [*KINDS, KeyKind.P256, KeyKind.ED25519]:
            key: PrivateKey = dsa.generate_private_key(2048) if kind is KeyKind.DSA else kind.generate()
            self.signers[kind] = SoftwareSigner(key, self.store.add(authority.issue(key.public_key(), str(kind))))
            (folder / f"{kind}.key").write_bytes(pem.write(key, None))
            (folder / f"{kind}.pub").write_bytes(pem.write_public(key.public_key()))

        self._signed: dict[tuple[KeyKind, HashMethod], dict[str, str]] = {}

    def signed(self, kind: KeyKind, method: HashMethod = HashMethod.SHA256) -> dict[str, str]:
        if (kind, method) not in self._signed:
            made = image_signature.sign(self.image, self.signers[kind], method).properties
            self._signed[kind, method] = dict(made)
        return dict(self._signed[kind, method])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def key_manager(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have cursive fetch certificates from our local store instead of from a key manager."""

    class Manager:
        def get(self, context: object, identity: str) -> x_509.X509:
            return x_509.X509(world.store.get(identity).public_bytes(serialization.Encoding.DER))

    monkeypatch.setattr(signature_utils.key_manager, "API", Manager)
    yield


def openssl_verifies(world: World, kind: KeyKind, method: HashMethod, signature: bytes) -> bool:
    (world.folder / "sig").write_bytes(signature)
    options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:max"] if kind.is_rsa else []
    words: list[str | Path] = [
        "openssl",
        "dgst",
        f"-{method.algorithm}",
        "-verify",
        world.folder / f"{kind}.pub",
        *options,
    ]
    done = subprocess.run([*words, "-signature", world.folder / "sig", world.image], capture_output=True, check=False)
    return done.returncode == 0 and b"Verified OK" in done.stdout


@pytest.mark.parametrize("method", HashMethod)
@pytest.mark.parametrize("kind", KINDS)
def test_openssl_and_cursive_accept_our_signatures(
    world: World, key_manager: None, kind: KeyKind, method: HashMethod
) -> None:
    properties = world.signed(kind, method)
    assert openssl_verifies(world, kind, method, base64.b64decode(properties["img_signature"]))
    verifier = signature_utils.get_verifier(None, **{name: properties[name] for name in image_signature.PROPERTIES})
    verifier.update(DATA)
    verifier.verify()
    image_signature.verify_file(world.image, properties, world.store)


@pytest.mark.parametrize("method", HashMethod)
@pytest.mark.parametrize("kind", KINDS)
def test_we_accept_openssls_signatures(world: World, kind: KeyKind, method: HashMethod) -> None:
    options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"] if kind.is_rsa else []
    words: list[str | Path] = [
        "openssl",
        "dgst",
        f"-{method.algorithm}",
        "-sign",
        world.folder / f"{kind}.key",
        *options,
    ]
    subprocess.run([*words, "-out", world.folder / "theirs", world.image], check=True)
    properties = world.signed(kind, method)
    properties["img_signature"] = base64.b64encode((world.folder / "theirs").read_bytes()).decode()
    image_signature.verify_file(world.image, properties, world.store)


def test_all_digests_come_from_the_same_reading(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    real_open = Path.open

    def counting(self: Path, *args: object, **kwargs: object) -> object:
        if self == world.image:
            opened.append(args)
        return real_open(self, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", counting)
    seen = bytearray()
    signed = image_signature.sign(world.image, world.signers[KeyKind.P384], HashMethod.SHA384, taps=[seen.extend])
    assert len(opened) == 1 and bytes(seen) == DATA
    for name in ("md5", "sha256", "sha384", "sha512"):
        assert signed.digests[name] == hashlib.new(name, DATA).hexdigest()


def test_the_stream_verifier_is_a_tap(world: World) -> None:
    verifier = Verifier.create(world.signed(KeyKind.P384), world.store)
    assert verifier is not None
    for start in range(0, len(DATA), 70_000):
        verifier.update(DATA[start : start + 70_000])
    verifier.finish()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([KeyKind.P384, KeyKind.P521, KeyKind.RSA2048]), st.integers(0, len(DATA) - 1), st.integers(1, 255)
)
def test_one_changed_byte_of_the_image_is_noticed(world: World, kind: KeyKind, at: int, change: int) -> None:
    verifier = Verifier.create(world.signed(kind), world.store)
    assert verifier is not None
    verifier.update(DATA[:at])
    verifier.update(bytes([DATA[at] ^ change]))
    verifier.update(DATA[at + 1 :])
    with pytest.raises(SignatureRefused) as refused:
        verifier.finish()
    assert refused.value.reason is SignatureReason.INVALID


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_one_changed_character_of_a_property_is_noticed(world: World, data: st.DataObject) -> None:
    properties = world.signed(KeyKind.P384)
    name = data.draw(st.sampled_from(image_signature.PROPERTIES))
    at = data.draw(st.integers(0, len(properties[name]) - 1))
    other = data.draw(st.characters(codec="ascii", categories=["L", "N"]).filter(lambda c: c != properties[name][at]))
    if name == "img_signature_certificate_uuid" and other.lower() == properties[name][at]:
        return  # the same UUID in capitals
    properties[name] = properties[name][:at] + other + properties[name][at + 1 :]
    with pytest.raises(SignatureRefused) as refused:
        image_signature.verify_file(world.image, properties, world.store)
    assert (
        refused.value.reason
        in {
            "img_signature": {SignatureReason.INVALID, SignatureReason.MALFORMED},
            "img_signature_hash_method": {SignatureReason.MALFORMED, SignatureReason.INVALID},
            "img_signature_key_type": {SignatureReason.MALFORMED, SignatureReason.KEY_MISMATCH},
            "img_signature_certificate_uuid": {SignatureReason.NO_CERTIFICATE},
        }[name]
    )


@pytest.mark.parametrize("absent", image_signature.PROPERTIES)
def test_three_of_four_properties_are_refused(world: World, absent: str) -> None:
    properties = world.signed(KeyKind.P384)
    del properties[absent]
    with pytest.raises(SignatureRefused, match=f"{absent} missing") as refused:
        Verifier.create(properties, world.store)
    assert refused.value.reason is SignatureReason.INCOMPLETE
    assert Verifier.create({"os_type": "linux"}, world.store) is None


def test_the_key_type_must_be_the_certificates(world: World, key_manager: None) -> None:
    """Where cursive lets any curve pass for any other."""
    signer = world.signers[KeyKind.P521]
    properties = {**world.signed(KeyKind.P521), "img_signature_key_type": "ECC_SECP384R1"}
    theirs = signature_utils.get_verifier(None, **properties)
    theirs.update(DATA)
    theirs.verify()
    with pytest.raises(SignatureRefused) as refused:
        Verifier.create(properties, world.store)
    assert refused.value.reason is SignatureReason.KEY_MISMATCH
    swapped = {**properties, "img_signature_certificate_uuid": world.signers[KeyKind.RSA2048].certificate}
    with pytest.raises(SignatureRefused, match="has a rsa2048 key"):
        Verifier.create(swapped, world.store)
    assert signer.kind.image_key_type == "ECC_SECP521R1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("img_signature_hash_method", "sha256"),
        ("img_signature_hash_method", "MD5"),
        ("img_signature_key_type", "ECC_SECP256R1"),
        ("img_signature", "not base64!"),
        ("img_signature", ""),
        ("img_signature", "AAA"),
        ("img_signature", "A" * 10_000),
        ("img_signature_certificate_uuid", "../../etc/passwd"),
        ("img_signature_certificate_uuid", "00000000-0000-0000-0000-000000000000"),
    ],
)
def test_bad_properties_are_refused_before_the_first_byte(
    world: World, key_manager: None, name: str, value: str
) -> None:
    properties = {**world.signed(KeyKind.P384), name: value}
    with pytest.raises(SignatureRefused) as refused:
        Verifier.create(properties, world.store)
    assert refused.value.reason in (SignatureReason.MALFORMED, SignatureReason.NO_CERTIFICATE)
    if name != "img_signature_certificate_uuid" and value:
        with pytest.raises((cursive_exception.SignatureVerificationError, Exception)):
            theirs = signature_utils.get_verifier(None, **properties)
            theirs.update(DATA)
            theirs.verify()


def test_a_wrapped_signature_counts(world: World) -> None:
    properties = world.signed(KeyKind.RSA2048)
    text = properties["img_signature"]
    properties["img_signature"] = "\n".join(text[at : at + 76] for at in range(0, len(text), 76))
    image_signature.verify_file(world.image, properties, world.store)


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.ED25519])
def test_keys_that_clouds_cannot_verify_do_not_sign_images(world: World, kind: KeyKind) -> None:
    with pytest.raises(PipelineError, match="image signatures don't know them"):
        image_signature.sign(world.image, world.signers[kind])


def test_an_exchanged_certificate_is_noticed(world: World, tmp_path: Path) -> None:
    store = LocalCertificates(tmp_path)
    other = store.add(Authority.new(KeyKind.P384.generate()).certificate)
    properties = world.signed(KeyKind.P384)
    (tmp_path / f"{properties['img_signature_certificate_uuid']}.pem").write_bytes(
        (tmp_path / f"{other}.pem").read_bytes()
    )
    with pytest.raises(SignatureRefused, match="exchanged or changed"):
        Verifier.create(properties, store)


def test_weak_keys_are_refused(world: World, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 1024)
    with pytest.raises(PipelineError, match="1024 bits is too weak"):
        KeyKind.of(key)
    certificate = Authority.new(KeyKind.P384.generate()).issue(key.public_key(), "weak")
    properties = {
        **world.signed(KeyKind.RSA2048),
        "img_signature_certificate_uuid": LocalCertificates(tmp_path).add(certificate),
    }
    with pytest.raises(SignatureRefused, match="too weak"):
        Verifier.create(properties, LocalCertificates(tmp_path))


@given(st.binary(max_size=400))
def test_rubbish_is_no_certificate(data: bytes) -> None:
    with pytest.raises(certificates.CertificateMissing):
        certificates.parse(data, name="rubbish")


def test_issued_certificates_say_what_they_are_for(world: World) -> None:
    leaf = world.store.get(world.signers[KeyKind.P384].certificate)
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature and not usage.key_cert_sign
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
