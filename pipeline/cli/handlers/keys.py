"""Carry out ``./inv keys.*``: show and change the signing keys."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.plain_text import one_line
from pipeline.base.terminal import SafeConsole, SafeTable
from pipeline.signing.keys import passphrase
from pipeline.signing.keys.key_folder import AUTHORITY
from pipeline.signing.keys.keyring import Keyring
from pipeline.signing.keys.records import Record
from pipeline.signing.trust.kinds import KeyKind


def show(home: Home, *, as_json: bool = False) -> None:
    """Print all keys with their generations, and until when their certificates are valid."""
    keyring = Keyring(home)
    rows = [row for name in keyring.names() for row in _rows(keyring, keyring.record(name))]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    if not rows:
        print("no keys yet: ./inv keys.new NAME makes one, and so does the first thing that is signed")
        return
    table = SafeTable(box=None, pad_edge=False)
    for title in ("key", "generation", "kind", "state", "key id", "certificate", "valid until", "kept in"):
        table.add_column(title, no_wrap=True)
    for row in rows:
        shown = {**row, "key_id": str(row["key_id"])[:16]}
        table.add_row(*(str(shown[column]) for column in shown if column != "reason"))
    # Ids are for copying: better beyond the edge of the terminal than cut.
    SafeConsole(width=max(SafeConsole().width, 140)).print(table)


def new(home: Home, name: str, kind: str, *, protect: bool = False) -> None:
    """Make a key; with ``protect``, encrypted with a passphrase that lies ready or is asked for twice."""
    record = Keyring(home).new(name, _kind(kind), protect=_new_passphrase(name) if protect else None)
    _report(record, "made")


def import_key(home: Home, name: str, source: str) -> None:
    """Take over a PEM file, or a key in a token by its ``pkcs11:`` URI."""
    keyring = Keyring(home)
    if source.startswith("pkcs11:"):
        _report(keyring.attach(name, source), "attached")
    else:
        _report(keyring.import_file(name, Path(source)), "imported")


def rotate(home: Home, name: str, kind: str | None) -> None:
    """Make a new generation; the old one stays trusted."""
    _report(Keyring(home).rotate(name, kind=_kind(kind) if kind else None), "rotated")


def revoke(home: Home, name: str, reason: str, number: int | None) -> None:
    """Withdraw trust."""
    if not reason.strip():
        raise PipelineError("say why: whoever verifies is told", hint=f'./inv keys.revoke {name} --reason "…"')
    record = Keyring(home).revoke(name, reason, number=number)
    gone = [generation for generation in record.generations if generation.reason == reason]
    for generation in gone:
        print(f"revoked {name} {generation.number}: nothing signed with {generation.key_id[:16]} counts any more")
    print("publish the new trust root: ./inv keys.trust FILE")


def request(home: Home, name: str) -> None:
    """Print a certificate signing request."""
    sys.stdout.write(Keyring(home).request(name).decode())


def certify(home: Home, name: str, chain: str) -> None:
    """Use a certificate from another authority."""
    try:
        data = Path(chain).read_bytes()
    except OSError as error:
        raise PipelineError(f"{chain} cannot be read: {error.strerror}") from None
    _report(Keyring(home).certify(name, data), "certified")


def publish(home: Home, name: str, cloud: str) -> None:
    """Put a key's certificate into a cloud's key manager."""
    from pipeline.publishing.cloud import connect
    from pipeline.signing.keys.key_manager import KeyManager

    auth, project = connect.session(home, cloud)
    for what, identity in Keyring(home).publish(name, KeyManager(auth, project=project).store).items():
        print(one_line(f"{what}: {identity}"))
    print("give the projects that boot the images read access to both (their ACL), and Nova the authority's id")


def export(home: Home, name: str, target: str | None) -> None:
    """Write a key's certificate and its issuer's: what whoever verifies needs, nothing secret."""
    keyring = Keyring(home)
    chain = [keyring.record(name).active.certificate]
    if AUTHORITY in keyring.names():
        chain.append(keyring.record(AUTHORITY).active.certificate)
    text = b"".join(
        keyring.certificates.get(identity).public_bytes(serialization.Encoding.PEM) for identity in dict.fromkeys(chain)
    )
    if target is None:
        sys.stdout.write(text.decode())
    else:
        atomic.write_bytes(Path(target), text)


def _rows(keyring: Keyring, record: Record) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for generation in record.generations:
        certificate = keyring.certificates.get(generation.certificate)
        rows.append(
            {
                "key": record.name,
                "generation": generation.number,
                "kind": str(generation.kind),
                "state": str(generation.state),
                "key_id": generation.key_id,
                "certificate": generation.certificate,
                "valid_until": f"{certificate.not_valid_after_utc:%Y-%m-%d}",
                "kept_in": generation.uri,
                "reason": generation.reason,
            }
        )
    return rows


def _report(record: Record, what: str) -> None:
    active = record.active
    print(f"{what} {record.name} {active.number}: {active.kind}, key id {active.key_id}, {active.uri}")
    print(f"certificate {active.certificate}")


def _kind(text: str) -> KeyKind:
    try:
        return KeyKind(text.lower())
    except ValueError:
        kinds = ", ".join(kind for kind in KeyKind if kind.can_be_generated)
        raise PipelineError(f"there is no kind of key {text!r}", hint=f"use one of {kinds}") from None


def _new_passphrase(name: str) -> bytes:
    if passphrase.is_set(name):
        found = passphrase.find(name)
    elif sys.stdin.isatty():
        found = passphrase.ask(f"new passphrase for the key {name}: ")
        if passphrase.ask("once more: ") != found:
            raise PipelineError("the two passphrases differ")
    else:
        found = None
    if not found:
        raise PipelineError("there is no passphrase to protect the key with", hint="see PIPELINE_KEY_PASSPHRASE_FILE")
    return found
