"""Keep the keys of this installation: made, listed, rotated, revoked. Only ``default`` is made by itself.

Of a key's generations one is active and signs; retired ones stay trusted, because images they signed are still about;
revoked ones are named to every verifier.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cryptography import x509

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.signing.keys import passphrase, pkcs11, private_file
from pipeline.signing.keys.key_folder import AUTHORITY, KeyFolder, write_private
from pipeline.signing.keys.records import Generation, KeyState, Record, now
from pipeline.signing.keys.signer import Signer, SoftwareSigner
from pipeline.signing.trust import certificates, extensions, pem
from pipeline.signing.trust.certificates import Authority, LocalCertificates, key_id
from pipeline.signing.trust.kinds import KeyKind, PrivateKey, PublicKey

DEFAULT_KIND = KeyKind.P384
# The one that is made on first use. Any other name that is not there may be a slip of the finger.
DEFAULT_KEY = "default"


class Keyring(KeyFolder):
    """The keys below one folder, and the certificates that go with them."""

    def __init__(self, home: Home, *, passphrases: passphrase.Source = passphrase.find) -> None:
        super().__init__(home.keys)
        self.certificates = LocalCertificates(home.certificates)
        self._passphrases = passphrases

    def is_made_at_need(self, name: str) -> bool:
        """Return whether the key ``name`` will be made when something is signed. Raises when there is no such key."""
        if name == DEFAULT_KEY:
            return name not in self.names()
        self.record(name)
        return False

    def signer(self, name: str) -> Signer:
        """Return what signs with the key ``name``; ``default`` is made now if it is not there.

        Raises ``PipelineError`` when there is no such key, files are open to others, the passphrase is wrong, or the
        key is revoked.
        """
        private_file.require_private_folder(self.folder)
        if self.is_made_at_need(name):
            self.new(name, exist_ok=True)
        generation = self.record(name).active
        if generation.uri.startswith("pkcs11:"):
            signer: Signer = pkcs11.TokenSigner.open(generation.uri, generation.certificate, self._passphrases(name))
        else:
            signer = SoftwareSigner(self._load(name, generation), generation.certificate)
        self._check(name, signer.public_key, generation)
        return signer

    def unlock(self, name: str) -> None:
        """Ask a person now for what opens the key ``name``, so that workers without a terminal can sign with it later.

        Nothing happens when there is no such key yet, it is not locked, a passphrase or PIN lies ready, or nobody is
        there to be asked. Raises ``PipelineError`` when what is typed is wrong.
        """
        if not passphrase.can_ask(name) or name not in self.names() or not self._is_locked(name):
            return
        try:
            self.signer(name)
        except PipelineError:
            passphrase.forget(name)
            raise

    def _is_locked(self, name: str) -> bool:
        generation = self.record(name).active
        return generation.uri.startswith("pkcs11:") or b"ENCRYPTED" in self._private(name, generation)

    def new(
        self, name: str, kind: KeyKind = DEFAULT_KIND, *, protect: bytes | None = None, exist_ok: bool = False
    ) -> Record:
        """Make a key. With a passphrase in ``protect`` (or one to be found), its private part is encrypted."""
        return self._add(name, kind.generate, protect, first=True, exist_ok=exist_ok)

    def import_file(self, name: str, path: Path) -> Record:
        """Take over a private key in PEM; it keeps its passphrase. DSA keys come in this way only."""
        data = private_file.read(path, what="the key file")
        secret = self._passphrases(name) if b"ENCRYPTED" in data else None
        key = pem.read(data, secret, name=str(path))
        return self._add(name, lambda: key, secret, first=True)

    def attach(self, name: str, uri: str) -> Record:
        """Use a key that a PKCS#11 token holds, named by its ``pkcs11:`` URI (RFC 7512)."""
        self._require_free_name(name)
        private_file.require_private_folder(self.folder)
        public = pkcs11.public_key(uri, self._passphrases(name))
        with self._locked():
            self._require_absent(name)
            with atomic.new_folder(self._of(name), mode=0o700) as folder:
                generation = self._describe(name, 1, public, uri, folder)
                self._write(folder, Record(name, (generation,)))
        return self.record(name)

    def rotate(self, name: str, *, protect: bytes | None = None, kind: KeyKind | None = None) -> Record:
        """Make a new generation and retire the active one, which stays trusted."""
        last = self.record(name).generations[-1]
        if last.uri.startswith("pkcs11:"):
            raise PipelineError(
                f"the key {name} is in a token", hint="make a new key there and attach it under a new name"
            )
        if name == AUTHORITY:
            return self._rotate_authority()
        new_kind = kind or last.kind
        encrypted = b"ENCRYPTED" in self._private(name, last)
        secret = protect or (self._passphrases(name) if encrypted else None)
        if encrypted and secret is None:
            raise PipelineError(f"the key {name} is encrypted and there is no passphrase", hint=pem.PASSPHRASE_HINT)
        if encrypted and protect is None:
            # Or a slip of the finger would become the new key's passphrase.
            self._load(name, last)
        return self._add(name, new_kind.generate, secret, first=False)

    def revoke(self, name: str, reason: str, *, number: int | None = None) -> Record:
        """Withdraw trust from one generation of a key (all of them without ``number``)."""
        with self._locked():
            record = self.record(name)
            if number is not None and number not in {generation.number for generation in record.generations}:
                raise PipelineError(f"the key {name} has no generation {number}")
            changed = [
                replace(generation, state=KeyState.REVOKED, reason=reason, ended=now())
                if number in (None, generation.number)
                else generation
                for generation in record.generations
            ]
            self._write(self._of(name), replace(record, generations=tuple(changed)))
        return self.record(name)

    def request(self, name: str) -> bytes:
        """Return a certificate signing request (PEM) for another authority."""
        generation = self.record(name).active
        if generation.uri.startswith("pkcs11:"):
            raise PipelineError(f"the key {name} is in a token", hint="have the token's own tools write the request")
        return certificates.request(self._load(name, generation), name)

    def certify(self, name: str, chain: bytes) -> Record:
        """Use a certificate that another authority issued: its PEM, with its issuers' behind it."""
        found = certificates.parse_chain(chain, name="the chain")
        if problem := extensions.signing_problem(found[0]):
            raise PipelineError(
                f"the certificate may not sign images: {problem}",
                hint="ask for one with the key usage digitalSignature, and code signing if it names purposes",
            )
        with self._locked():
            record = self.record(name)
            active = record.active
            if key_id(found[0].public_key()) != active.key_id:
                raise PipelineError(
                    f"the first certificate is not for the key {name}", hint=f"./inv keys.request {name}"
                )
            identities = [self.certificates.add(certificate) for certificate in found]
            changed = [
                replace(each, certificate=identities[0]) if each is active else each for each in record.generations
            ]
            self._write(self._of(name), replace(record, generations=tuple(changed)))
        return self.record(name)

    def publish(self, name: str, store: Callable[[x509.Certificate, str], str]) -> dict[str, str]:
        """Hand a key's certificate and its authority's to a key manager, and sign with the id given there from now on.

        ``store`` keeps a certificate under a name and returns its id. Returns what was kept: name → id.
        """
        leaf = self.certificates.get(self.record(name).active.certificate)
        kept = {f"image signing key {name}": (store(leaf, f"image signing key {name}"), leaf)}
        root = self.authority().certificate
        if leaf.issuer == root.subject:
            kept["authority"] = (store(root, "image signing authority"), root)
        for identity, certificate in kept.values():
            self.certificates.add_as(identity, certificate)
        with self._locked():
            record = self.record(name)
            new = replace(record.active, certificate=kept[f"image signing key {name}"][0])
            changed = [new if each.number == new.number else each for each in record.generations]
            self._write(self._of(name), replace(record, generations=tuple(changed)))
        return {name: identity for name, (identity, _) in kept.items()}

    def authority(self) -> Authority:
        """Return the local authority that issues the keys' certificates; made on first use."""
        private_file.require_private_folder(self.folder)
        with self._locked():
            return self._authority()

    def _authority(self) -> Authority:
        folder = self._of(AUTHORITY)
        if not (folder / "key.json").exists():
            self._add_authority(folder)
        generation = self.record(AUTHORITY).active
        return Authority(self._load(AUTHORITY, generation), self.certificates.get(generation.certificate))

    def _add_authority(self, folder: Path) -> None:
        with atomic.new_folder(folder, mode=0o700) as temporary:
            self._write(temporary, Record(AUTHORITY, (self._make_authority(temporary, 1),)))

    def _rotate_authority(self) -> Record:
        """Make a new authority, which issues from now on; the old one vouches for what it issued, unless revoked."""
        with self._locked():
            record = self.record(AUTHORITY)
            added = self._make_authority(self._of(AUTHORITY), len(record.generations) + 1)
            self._write(self._of(AUTHORITY), record.with_new(added))
        return self.record(AUTHORITY)

    def _make_authority(self, folder: Path, number: int) -> Generation:
        key = DEFAULT_KIND.generate()
        identity = self.certificates.add(Authority.new(key).certificate)
        write_private(folder / f"{number}.pem", pem.write(key, self._passphrases_if_set(AUTHORITY)))
        atomic.write_bytes(folder / f"{number}.pub.pem", pem.write_public(key.public_key()))
        return Generation(number, DEFAULT_KIND, key_id(key.public_key()), f"file:{number}.pem", identity, now())

    def _add(
        self, name: str, make: Callable[[], PrivateKey], protect: bytes | None, *, first: bool, exist_ok: bool = False
    ) -> Record:
        if first:
            self._require_free_name(name)
        if protect is not None:
            passphrase.require_strength(protect)
        private_file.require_private_folder(self.folder)
        with self._locked():
            if first and (self._of(name) / "key.json").exists():
                if exist_ok:
                    return self.record(name)
                self._require_absent(name)
            key = make()
            secret = protect if protect is not None or not first else self._passphrases_if_set(name)
            if first:
                with atomic.new_folder(self._of(name), mode=0o700) as folder:
                    self._write_generation(folder, Record(name), key, secret)
            else:
                self._write_generation(self._of(name), self.record(name), key, secret)
        return self.record(name)

    def _write_generation(self, folder: Path, record: Record, key: PrivateKey, secret: bytes | None) -> None:
        number = len(record.generations) + 1
        public = key.public_key()
        write_private(folder / f"{number}.pem", pem.write(key, secret))
        added = self._describe(record.name, number, public, f"file:{number}.pem", folder)
        self._write(folder, record.with_new(added))

    def _describe(self, name: str, number: int, public: PublicKey, uri: str, folder: Path) -> Generation:
        certificate = self._authority().issue(public, f"{name} {number}")
        identity = self.certificates.add(certificate)
        atomic.write_bytes(folder / f"{number}.pub.pem", pem.write_public(public))
        return Generation(number, KeyKind.of(public), key_id(public), uri, identity, now())

    def _load(self, name: str, generation: Generation) -> PrivateKey:
        data = self._private(name, generation)
        secret = self._passphrases(name) if b"ENCRYPTED" in data else None
        return pem.read(data, secret, name=name)

    def _check(self, name: str, public: PublicKey, generation: Generation) -> None:
        certificate = self.certificates.get(generation.certificate)
        if key_id(public) != generation.key_id or key_id(certificate.public_key()) != generation.key_id:
            raise PipelineError(
                f"the key {name}, its record and its certificate {generation.certificate} do not belong together",
                hint="restore them from a backup, or make a new key",
            )
        moment = datetime.datetime.now(datetime.UTC)
        if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
            raise PipelineError(
                f"the certificate of the key {name} is not valid now "
                f"({certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d})",
                hint=f"./inv keys.rotate {name}",
            )

    def _passphrases_if_set(self, name: str) -> bytes | None:
        """Encrypt a new key that is made without a person there only when a passphrase lies ready."""
        if not passphrase.is_set(name):
            return None
        found = self._passphrases(name)
        if found is not None:
            passphrase.require_strength(found)
        return found
