"""Declare the tasks for signing keys and for the proofs they make."""

from __future__ import annotations

from invoke.context import Context

from pipeline.base.home import Home
from pipeline.cli.task import task

_KEYS = "Keys and proofs"


@task("keys.list", _KEYS, help={"json": "as JSON on standard output"})
def keys_list(context: Context, json: bool = False) -> None:
    """Show the signing keys, what became of them, and until when their certificates are valid."""
    from pipeline.cli.handlers import keys

    keys.show(Home.default(), as_json=json)


@task(
    "keys.new",
    _KEYS,
    help={
        "name": "what to call it",
        "kind": "p384, p521, rsa2048, rsa3072, rsa4096; p256 and ed25519 for attestations only",
        "protect": "encrypt it with a passphrase (asked for, or from PIPELINE_KEY_PASSPHRASE_FILE)",
    },
)
def keys_new(context: Context, name: str, kind: str = "p384", protect: bool = False) -> None:
    """Make a signing key and its certificate."""
    from pipeline.cli.handlers import keys

    keys.new(Home.default(), name, kind, protect=protect)


@task("keys.import", _KEYS, help={"name": "what to call it", "source": "a private key in PEM, or a pkcs11: URI"})
def keys_import(context: Context, name: str, source: str) -> None:
    """Use a key that exists already: a PEM file, or one that a hardware token keeps."""
    from pipeline.cli.handlers import keys

    keys.import_key(Home.default(), name, source)


@task("keys.rotate", _KEYS, help={"name": "the key", "kind": "another kind than before"})
def keys_rotate(context: Context, name: str, kind: str = "") -> None:
    """Make a new generation of a key; what the old one signed stays trusted."""
    from pipeline.cli.handlers import keys

    keys.rotate(Home.default(), name, kind or None)


@task(
    "keys.revoke",
    _KEYS,
    help={"name": "the key", "reason": "why; whoever verifies is told", "generation": "only this one (default: all)"},
)
def keys_revoke(context: Context, name: str, reason: str = "", generation: int = 0) -> None:
    """Withdraw trust from a key: nothing it signed counts any more."""
    from pipeline.cli.handlers import keys

    keys.revoke(Home.default(), name, reason, generation or None)


@task("keys.request", _KEYS, help={"name": "the key"})
def keys_request(context: Context, name: str) -> None:
    """Print a request for a certificate from another authority than the local one."""
    from pipeline.cli.handlers import keys

    keys.request(Home.default(), name)


@task("keys.certify", _KEYS, help={"name": "the key", "chain": "PEM file: its certificate, then the issuers'"})
def keys_certify(context: Context, name: str, chain: str) -> None:
    """Use the certificate that another authority issued for a key."""
    from pipeline.cli.handlers import keys

    keys.certify(Home.default(), name, chain)


@task(
    "verify",
    _KEYS,
    help={
        "target": "an image's name or id in a cloud, or a file, or a folder of downloaded images",
        "cloud": "the cloud that has the image (default: the bundled service)",
        "policy": "a YAML file that says what is required",
        "trust": "a trust root from ./inv keys.trust (default: this installation's own keys)",
        "json": "the verdicts as JSON on standard output",
    },
)
def verify(
    context: Context, target: str, cloud: str = "", policy: str = "", trust: str = "", json: bool = False
) -> None:
    """Check an image with its whole proof: digests, signature, certificate, attestations, bill of materials."""
    from pipeline.cli.handlers import verify as verify_handler

    verify_handler.run(Home.default(), target, cloud=cloud, policy=policy, trust=trust, as_json=json)


@task(
    "sign",
    _KEYS,
    help={
        "folder": "what ./inv build made, on this machine or another",
        "key": "the signing key",
        "hash": "the digest that is signed",
        "attest": "another key for the attestations, which may be p256 or ed25519",
        "bundle": "also write sigstore bundles, with this P-256 key (./inv keys.new NAME --kind p256)",
    },
)
def sign(
    context: Context, folder: str, key: str = "default", hash: str = "SHA-256", attest: str = "", bundle: str = ""
) -> None:
    """Sign a folder of images that was built elsewhere; every digest is computed anew."""
    from pipeline.cli.handlers import sign as sign_handler

    sign_handler.run(Home.default(), folder, sign_handler.Keys(key, attest, bundle), method=hash)


@task("keys.trust", _KEYS, help={"file": "where to write it"})
def keys_trust(context: Context, file: str) -> None:
    """Write the trust root that verifies offline elsewhere: public keys, authorities, revocations."""
    from pipeline.cli.handlers import verify as verify_handler

    verify_handler.export_trust(Home.default(), file)


@task("keys.publish", _KEYS, help={"name": "the key", "cloud": "the cloud whose key manager (Barbican) keeps it"})
def keys_publish(context: Context, name: str, cloud: str) -> None:
    """Put a key's certificate where Nova and Glance fetch it, and sign with the id it has there."""
    from pipeline.cli.handlers import keys

    keys.publish(Home.default(), name, cloud)


@task("keys.export", _KEYS, help={"name": "the key", "to": "a file (default: standard output)"})
def keys_export(context: Context, name: str, to: str = "") -> None:
    """Write the certificates that verify what a key signed; nothing in them is secret."""
    from pipeline.cli.handlers import keys

    keys.export(Home.default(), name, to or None)
