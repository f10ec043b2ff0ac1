"""Check detached OpenPGP signatures with gpgv(1): no key ring of this machine's users, no trust but a fingerprint."""

from __future__ import annotations

import base64
import binascii
import re
import tempfile
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.system import process

_ARMOUR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(.*?)\r?\n-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL
)
_STATUS = "[GNUPG:] "
_WHY = {
    "NO_PUBKEY": "it was made by another key",
    "BADSIG": "the content was changed after it was signed",
    "EXPKEYSIG": "its key has expired",
    "REVKEYSIG": "its key was revoked",
    "EXPSIG": "the signature has expired",
    "NODATA": "there is no signature in the file",
}


def verify(content: bytes, signature: bytes, key: bytes, fingerprint: str, *, of: str) -> None:
    """Raise ``PipelineError`` unless ``signature`` of ``content`` was made by the key with ``fingerprint``.

    ``key`` may hold several keys, armoured or not, and come from anywhere. ``of`` names the content in the error.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / name for name in ("key.gpg", "signature", "content")}
        files["key.gpg"].write_bytes(_binary(key, of))
        files["signature"].write_bytes(signature)
        files["content"].write_bytes(content)
        words: list[str | Path] = ["gpgv", "--homedir", folder, "--weak-digest", "SHA1", "--status-fd", "1"]
        words += ["--keyring", files["key.gpg"], files["signature"], files["content"]]
        finished = process.run(words, timeout=120, check=False)
    status_lines = [
        line.removeprefix(_STATUS).split() for line in finished.stdout.splitlines() if line.startswith(_STATUS)
    ]
    valid = {word for line in status_lines if line[0] == "VALIDSIG" for word in (line[1], line[-1])}
    if finished.status == 0 and any(line[0] == "GOODSIG" for line in status_lines) and fingerprint in valid:
        return
    made_by = next((line[1] for line in status_lines if line[0] in ("VALIDSIG", "NO_PUBKEY")), None)
    reason = next((_WHY[line[0]] for line in status_lines if line[0] in _WHY), None) or "it was made by another key"
    raise PipelineError(
        f"the signature of {of} is not good: {reason}",
        details=[f"wanted: {fingerprint}", *([f"made by: {made_by}"] if made_by else [])],
        hint="do not use it; if the maker has a new key, check its fingerprint on the maker's own pages first",
    )


def _binary(key: bytes, of: str) -> bytes:
    """Return the key's packets, out of their armour (RFC 9580, section 6) if they are in one."""
    if not key.lstrip().startswith(b"-----BEGIN"):
        return key
    packets = b""
    for block in _ARMOUR.findall(key):
        body = block.replace(b"\r", b"").partition(b"\n\n")[2] if b"\n\n" in block.replace(b"\r", b"") else block
        lines = [line for line in body.split(b"\n") if not line.startswith(b"=") and b":" not in line]
        try:
            packets += base64.b64decode(b"".join(lines), validate=True)
        except binascii.Error:
            raise PipelineError(f"the key for {of} is damaged: its armour holds no base64") from None
    if not packets:
        raise PipelineError(f"the key for {of} is no OpenPGP public key")
    return packets
