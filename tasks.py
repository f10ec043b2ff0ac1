"""The tasks of ``./inv``: each a few lines that read the command line and call the room that does the work.

``./inv --list`` prints them as a tour, in this file's order. What takes long to import is imported within a task.
"""

from __future__ import annotations

from invoke.context import Context

from pipeline.base.home import Home
from pipeline.face.task import namespace as _namespace
from pipeline.face.task import task

# --- Build ------------------------------------------------------------------------------------------------------------


# --- Publish ----------------------------------------------------------------------------------------------------------


# --- Image service ----------------------------------------------------------------------------------------------------


# --- Keys and proofs --------------------------------------------------------------------------------------------------

_KEYS = "Keys and proofs"


@task("keys.list", _KEYS, help={"json": "as JSON on standard output"})
def keys_list(context: Context, json: bool = False) -> None:
    """Show the signing keys, what became of them, and until when their certificates are valid."""
    from pipeline.face import keys

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
    from pipeline.face import keys

    keys.new(Home.default(), name, kind, protect=protect)


@task("keys.import", _KEYS, help={"name": "what to call it", "source": "a private key in PEM, or a pkcs11: URI"})
def keys_import(context: Context, name: str, source: str) -> None:
    """Use a key that exists already: a PEM file, or one that a hardware token keeps."""
    from pipeline.face import keys

    keys.bring(Home.default(), name, source)


@task("keys.rotate", _KEYS, help={"name": "the key", "kind": "another kind than before"})
def keys_rotate(context: Context, name: str, kind: str = "") -> None:
    """Make a new generation of a key; what the old one signed stays trusted."""
    from pipeline.face import keys

    keys.rotate(Home.default(), name, kind or None)


@task(
    "keys.revoke",
    _KEYS,
    help={"name": "the key", "reason": "why; whoever verifies is told", "generation": "only this one (default: all)"},
)
def keys_revoke(context: Context, name: str, reason: str = "", generation: int = 0) -> None:
    """Withdraw trust from a key: nothing it signed counts any more."""
    from pipeline.face import keys

    keys.revoke(Home.default(), name, reason, generation or None)


@task("keys.request", _KEYS, help={"name": "the key"})
def keys_request(context: Context, name: str) -> None:
    """Print a request for a certificate from another authority than the local one."""
    from pipeline.face import keys

    keys.request(Home.default(), name)


@task("keys.certify", _KEYS, help={"name": "the key", "chain": "PEM file: its certificate, then the issuers'"})
def keys_certify(context: Context, name: str, chain: str) -> None:
    """Use the certificate that another authority issued for a key."""
    from pipeline.face import keys

    keys.certify(Home.default(), name, chain)


@task("keys.export", _KEYS, help={"name": "the key", "to": "a file (default: standard output)"})
def keys_export(context: Context, name: str, to: str = "") -> None:
    """Write the certificates that verify what a key signed; nothing in them is secret."""
    from pipeline.face import keys

    keys.export(Home.default(), name, to or None)


# --- This machine and this code ---------------------------------------------------------------------------------------

_HOUSE = "This machine and this code"


@task("doctor", _HOUSE, help={"json": "the findings as JSON on standard output"})
def doctor(context: Context, json: bool = False) -> None:
    """Check everything a build needs on this machine, and say how to mend what is missing."""
    from pipeline.face import checkup

    checkup.run(Home.default(), as_json=json)


@task(
    "test",
    _HOUSE,
    help={
        "fast": "only what takes a moment: no guests, no servers",
        "all": "also the long ones",
        "soak": "only those that run for hours",
        "shard": "one part of the tests, as I/N: 2/3 is the second of three",
        "only": "a folder, file or test, as pytest names it (may be repeated)",
    },
    iterable=["only"],
)
def test(
    context: Context,
    only: list[str] | None = None,
    fast: bool = False,
    all: bool = False,
    soak: bool = False,
    shard: str = "",
) -> None:
    """Run the tests of this code."""
    from pipeline.face import checks

    checks.test(fast=fast, everything=all, soak=soak, shard=shard, only=only or ())


@task("lint", _HOUSE)
def lint(context: Context) -> None:
    """Check style, types, shell scripts and the house's floors."""
    from pipeline.face import checks

    checks.lint()


# The last line: collects every task above.
namespace = _namespace()
