"""OpenPGP keys made for one test, each in a home of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.host.system import process


@dataclass
class Signer:
    """A key without a passphrase. ``at`` is what it takes for the time (``20240101T000000``); without it, now."""

    home: Path
    fingerprint: str = ""
    at: str | None = None

    def gpg(self, *words: str | Path) -> str:
        time = ["--faked-system-time", self.at] if self.at else []
        return process.run(["gpg", "--homedir", self.home, "--batch", "--yes", "--quiet", *time, *words]).stdout

    def make(self, expires: str = "never") -> None:
        self.home.mkdir(mode=0o700)
        key = ["--quick-generate-key", "maker@example.org", "ed25519", "default", expires]
        self.gpg("--pinentry-mode", "loopback", "--passphrase", "", *key)
        said = self.gpg("--with-colons", "--list-keys")
        self.fingerprint = next(line.split(":")[9] for line in said.splitlines() if line.startswith("fpr"))

    def public(self) -> bytes:
        return self.gpg("--armor", "--export").encode()

    def sign(self, file: Path, signature: Path) -> None:
        self.gpg("--armor", "--output", signature, "--detach-sign", file)


@contextlib.contextmanager
def signers(*made: Signer) -> Iterator[None]:
    """The agents that gpg starts for ``made`` end with the block."""
    try:
        yield
    finally:
        for each in made:
            process.run(["gpgconf", "--homedir", each.home, "--kill", "gpg-agent"], check=False)
