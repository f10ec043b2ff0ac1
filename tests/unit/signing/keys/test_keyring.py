from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.signing.keys import passphrase
from pipeline.signing.keys.key_folder import AUTHORITY
from pipeline.signing.keys.keyring import Keyring
from pipeline.signing.keys.records import KeyState
from pipeline.signing.trust import chain, pem
from pipeline.signing.trust.certificates import Authority, identity_of, key_id
from pipeline.signing.trust.kinds import KeyKind
from pipeline.signing.verification.trust_roots import TrustRoot

SECRET = b"correct horse battery"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_default_key_is_made_on_first_use_and_kept(home: Home, keyring: Keyring) -> None:
    signer = keyring.signer("default")
    assert signer.kind is KeyKind.P384
    assert key_id(keyring.signer("default").public_key) == key_id(signer.public_key)
    assert mode(home.keys) == mode(home.keys / "default") == 0o700
    assert mode(home.keys / "default" / "1.pem") == mode(home.keys / "default" / "key.json") == 0o600
    assert mode(home.keys / "default" / "1.pub.pem") == 0o644
    certificate = keyring.certificates.get(signer.certificate)
    assert key_id(certificate.public_key()) == key_id(signer.public_key)
    certificate.verify_directly_issued_by(keyring.authority().certificate)
    assert keyring.names() == ["ca", "default"]


@pytest.mark.parametrize("kind", [kind for kind in KeyKind if kind.can_be_generated and kind is not KeyKind.RSA4096])
def test_every_kind_is_made_and_loaded(keyring: Keyring, kind: KeyKind) -> None:
    keyring.new("mine", kind)
    assert keyring.signer("mine").kind is kind


def test_dsa_is_imported_only(keyring: Keyring) -> None:
    with pytest.raises(PipelineError, match="not made"):
        keyring.new("old", KeyKind.DSA)
    assert keyring.names() in ([], ["ca"])


def test_encrypted_keys(home: Home) -> None:
    def ring(secret: bytes | None) -> Keyring:
        return Keyring(home, passphrases=lambda name: None if name == "ca" else secret)

    ring(None).new("release", KeyKind.P384, protect=SECRET)
    assert b"ENCRYPTED" in (home.keys / "release" / "1.pem").read_bytes()
    assert ring(SECRET).signer("release").kind is KeyKind.P384
    with pytest.raises(PipelineError, match="passphrase for the key release is wrong"):
        ring(b"something else").signer("release")
    with pytest.raises(PipelineError, match="is encrypted and there is no passphrase") as error:
        ring(None).signer("release")
    assert "PIPELINE_KEY_PASSPHRASE_FILE" in str(error.value)
    with pytest.raises(PipelineError, match="shorter than 12"):
        ring(None).new("weak", protect=b"short")


@pytest.mark.subprocess
def test_openssl_reads_our_encrypted_keys_and_sees_the_rounds(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(pem.write(KeyKind.P384.generate(), SECRET))
    (tmp_path / "secret").write_bytes(SECRET)
    words: list[str | Path] = ["openssl", "pkey", "-in", key, "-passin", f"file:{tmp_path / 'secret'}", "-noout"]
    subprocess.run(words, check=True)
    shown = subprocess.run(["openssl", "asn1parse", "-in", key], check=True, capture_output=True, text=True).stdout
    assert f"INTEGER           :{pem.ROUNDS:06X}" in shown and "aes-256-cbc" in shown and "hmacWithSHA256" in shown


@pytest.mark.parametrize("bits", [0o644, 0o640, 0o604])
def test_open_modes_are_refused(home: Home, keyring: Keyring, bits: int) -> None:
    keyring.signer("default")
    (home.keys / "default" / "1.pem").chmod(bits)
    with pytest.raises(PipelineError, match="can be read by others") as error:
        keyring.signer("default")
    assert "chmod 600" in str(error.value)


def test_an_open_folder_and_links_are_refused(home: Home, keyring: Keyring) -> None:
    keyring.signer("default")
    key = home.keys / "default" / "1.pem"
    key.rename(home.keys / "elsewhere.pem")
    key.symlink_to(home.keys / "elsewhere.pem")
    with pytest.raises(PipelineError, match="symbolic link"):
        keyring.signer("default")
    home.keys.chmod(0o755)
    with pytest.raises(PipelineError, match="open to others"):
        keyring.signer("default")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_somebody_elses_key_is_refused(home: Home, keyring: Keyring) -> None:
    keyring.signer("default")
    os.chown(home.keys / "default" / "1.pem", 65534, 65534)
    with pytest.raises(PipelineError, match="belongs to another user"):
        keyring.signer("default")


def test_rotation_keeps_the_old_one_trusted(keyring: Keyring) -> None:
    before = keyring.signer("default")
    record = keyring.rotate("default")
    after = keyring.signer("default")
    assert key_id(before.public_key) != key_id(after.public_key)
    assert [generation.state for generation in record.generations] == [KeyState.RETIRED, KeyState.ACTIVE]
    assert record.generations[0].state.is_trusted
    assert keyring.certificates.get(before.certificate)


def test_revocation(keyring: Keyring) -> None:
    keyring.signer("default")
    keyring.rotate("default")
    record = keyring.revoke("default", "laptop stolen", number=1)
    assert [generation.state for generation in record.generations] == [KeyState.REVOKED, KeyState.ACTIVE]
    keyring.revoke("default", "everything stolen")
    with pytest.raises(PipelineError, match="is revoked") as error:
        keyring.signer("default")
    assert "keys.rotate default" in str(error.value)
    keyring.rotate("default")
    assert keyring.signer("default")
    with pytest.raises(PipelineError, match="no generation 9"):
        keyring.revoke("default", "x", number=9)


def test_import(keyring: Keyring, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import dsa

    path = tmp_path / "old.pem"
    path.write_bytes(pem.write(dsa.generate_private_key(2048), None))
    with pytest.raises(PipelineError, match="can be read by others"):
        path.chmod(0o644)
        keyring.import_file("old", path)
    path.chmod(0o600)
    keyring.import_file("old", path)
    assert keyring.signer("old").kind is KeyKind.DSA
    with pytest.raises(PipelineError, match="already"):
        keyring.import_file("old", path)
    path.write_text("rubbish")
    with pytest.raises(PipelineError, match="not a private key in PEM"):
        keyring.import_file("other", path)


@pytest.mark.parametrize("name", ["", "..", "../up", "A", "x" * 64, "a/b", ".hidden"])
def test_names_cannot_leave_the_folder(keyring: Keyring, name: str) -> None:
    with pytest.raises(PipelineError, match="is no name for a key"):
        keyring.signer(name)


def test_unknown_and_damaged_records(home: Home, keyring: Keyring) -> None:
    with pytest.raises(PipelineError, match="there is no key 'x'"):
        keyring.record("x")
    keyring.signer("default")
    (home.keys / "default" / "key.json").write_text("{")
    with pytest.raises(PipelineError, match="is damaged"):
        keyring.signer("default")


def test_only_the_default_key_is_made_by_itself(home: Home, keyring: Keyring) -> None:
    keyring.new("release")
    with pytest.raises(PipelineError, match=r"there is no key 'relaese' \(there are: release\)") as error:
        keyring.signer("relaese")
    assert error.value.hint == "./inv keys.new relaese makes it"
    assert keyring.names() == ["ca", "release"]
    keyring.signer("default")
    assert keyring.names() == ["ca", "default", "release"]


def test_an_exchanged_key_is_noticed(home: Home, keyring: Keyring) -> None:
    keyring.signer("default")
    keyring.new("other")
    (home.keys / "default" / "1.pem").write_bytes((home.keys / "other" / "1.pem").read_bytes())
    with pytest.raises(PipelineError, match="do not belong together"):
        keyring.signer("default")


def test_two_at_once_agree_on_one_key(home: Home) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(key_id(Keyring(home, passphrases=lambda _: None).signer("default").public_key))
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and len(set(found)) == 1


def test_sources_of_a_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    assert passphrase.find("default") is None and not passphrase.is_set("default")
    monkeypatch.setenv("PIPELINE_KEY_PASSPHRASE", "from the environment")
    assert passphrase.find("default") == b"from the environment"
    monkeypatch.setenv("PIPELINE_KEY_PASSPHRASE_MY_KEY", "for this key")
    assert passphrase.find("my-key") == b"for this key" and passphrase.is_set("my-key")
    file = tmp_path / "secret"
    file.write_bytes(b"from a file \r\n")
    file.chmod(0o600)
    monkeypatch.setenv("PIPELINE_KEY_PASSPHRASE_FILE", str(file))
    assert passphrase.find("default") == b"from a file "
    file.chmod(0o644)
    with pytest.raises(PipelineError, match="can be read by others"):
        passphrase.find("default")
    file.write_bytes(b"one\ntwo\n")
    file.chmod(0o600)
    with pytest.raises(PipelineError, match="one line"):
        passphrase.find("default")


def test_a_waiting_passphrase_protects_a_new_key(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_KEY_PASSPHRASE", SECRET.decode())
    ring = Keyring(home)
    ring.signer("default")
    assert b"ENCRYPTED" in (home.keys / "default" / "1.pem").read_bytes()
    monkeypatch.setenv("PIPELINE_KEY_PASSPHRASE", "another passphrase")
    with pytest.raises(PipelineError, match="wrong"):
        ring.signer("default")


def test_the_record_holds_no_secret(home: Home, keyring: Keyring) -> None:
    keyring.signer("default")
    record = json.loads((home.keys / "default" / "key.json").read_text())
    assert set(record["generations"][0]) == {
        "number", "kind", "key_id", "uri", "certificate", "created", "state", "reason", "ended",
    }  # fmt: skip


def test_another_authority_can_certify_a_key(keyring: Keyring, home: Home) -> None:
    keyring.signer("default")
    request = x509.load_pem_x509_csr(keyring.request("default"))
    assert key_id(request.public_key()) == keyring.record("default").active.key_id
    company = Authority.new(KeyKind.RSA2048.generate(), "company")
    leaf = company.issue(keyring.signer("default").public_key, "default")
    chain = [leaf, company.certificate]
    keyring.certify("default", b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain))
    signer = keyring.signer("default")
    assert keyring.certificates.get(signer.certificate) == leaf
    assert keyring.certificates.get(identity_of(company.certificate))
    other = company.issue(KeyKind.P384.generate().public_key(), "other").public_bytes(serialization.Encoding.PEM)
    with pytest.raises(PipelineError, match="not for the key default"):
        keyring.certify("default", other)


def test_an_expired_certificate_does_not_sign(keyring: Keyring) -> None:
    keyring.signer("default")
    public = keyring.signer("default").public_key
    expired = keyring.authority().issue(public, "default", days=0)
    keyring.certify("default", expired.public_bytes(serialization.Encoding.PEM))
    with pytest.raises(PipelineError, match="is not valid now"):
        keyring.signer("default")


def test_the_authority_rotates_too(keyring: Keyring) -> None:
    keyring.new("before")
    first = keyring.authority().certificate
    assert keyring.rotate(AUTHORITY).active.number == 2
    second = keyring.authority().certificate
    assert second.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    keyring.new("after")
    trusted = TrustRoot.of(keyring).trusted_authorities
    for name, authority in (("before", first), ("after", second)):
        certificate = keyring.certificates.get(keyring.record(name).active.certificate)
        assert chain.validate(certificate, trusted)[-1] == authority
    keyring.revoke(AUTHORITY, "stolen", number=1)
    with pytest.raises(chain.ChainRefused):
        chain.validate(
            keyring.certificates.get(keyring.record("before").active.certificate),
            TrustRoot.of(keyring).trusted_authorities,
        )


@pytest.mark.parametrize("make", ["new", "attach", "import_file"])
def test_the_authoritys_name_is_taken(keyring: Keyring, tmp_path: Path, make: str) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(pem.write(KeyKind.P384.generate(), None))
    file.chmod(0o600)
    given = {"new": (), "attach": ("pkcs11:token=t;object=o?module-path=/x",), "import_file": (file,)}[make]
    with pytest.raises(PipelineError, match="the authority's"):
        getattr(keyring, make)(AUTHORITY, *given)


def test_a_slip_of_the_finger_is_no_new_passphrase(home: Home) -> None:
    Keyring(home, passphrases=lambda _: None).new("release", protect=SECRET)
    slipped = Keyring(home, passphrases=lambda name: None if name == AUTHORITY else b"correct horse batterz")
    with pytest.raises(PipelineError, match="passphrase for the key release is wrong"):
        slipped.rotate("release")
    assert len(slipped.record("release").generations) == 1
