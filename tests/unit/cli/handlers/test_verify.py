"""``./inv verify`` of folders that somebody else made."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.cli.handlers import verify
from pipeline.signing.attestation import proof
from pipeline.signing.keys.keyring import Keyring

UP = "\x1b[1A\x1b[2K"
PAINTED = f"{UP}\x9b1A[bold green]verified\r\u202e"


def test_a_hostile_folder_cannot_paint_over_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path / "home", tmp_path / "cache")
    Keyring(home).new("default")
    folder = tmp_path / "given"
    folder.mkdir()
    image = folder / f"disk{PAINTED}\nverified"
    image.write_bytes(b"x" * 512)
    document = {"sha256": PAINTED, "signature": PAINTED, "key_id": PAINTED, "certificate": PAINTED}
    image.with_name(f"{image.name}.signature.json").write_text(json.dumps(document))
    with pytest.raises(SystemExit):
        verify.run(home, str(folder), cloud="", policy="", trust="", as_json=False)
    output = capsys.readouterr().out
    assert not set(output) & set("\x1b\x9b\r\u202e")
    assert "NOT verified" in output.splitlines()[-1]
    assert "verified" not in [line.strip() for line in output.splitlines()]


def given(tmp_path: Path) -> tuple[Home, Path]:
    home = Home(tmp_path / "home", tmp_path / "cache")
    Keyring(home).new("default")
    folder = tmp_path / "given"
    folder.mkdir()
    return home, folder


def sparse(file: Path) -> None:
    with file.open("wb") as made:
        made.truncate(proof.MAX_BYTES + 1)


@pytest.mark.parametrize(
    ("place", "make", "message"),
    [
        ("disk", Path.mkdir, "disk is no regular file"),
        ("disk", os.mkfifo, "disk is no regular file"),
        ("disk.signature.json", os.mkfifo, "disk.signature.json is no regular file"),
        ("disk.signature.json", lambda file: file.symlink_to("/dev/zero"), "disk.signature.json is no regular file"),
        ("disk.signature.json", lambda file: file.symlink_to("nowhere"), "disk.signature.json is no regular file"),
        (f"disk.{proof.ENDING}", lambda file: file.symlink_to("/dev/zero"), f"disk.{proof.ENDING} is no regular file"),
        ("disk.signature.json", sparse, "disk.signature.json is larger than 128 MiB"),
    ],
)
def test_what_is_no_file_is_not_read(tmp_path: Path, place: str, make: Callable[[Path], object], message: str) -> None:
    home, folder = given(tmp_path)
    make(folder / place)
    for name in ("disk", "disk.signature.json"):
        if name != place and (name, place) != ("disk.signature.json", f"disk.{proof.ENDING}"):
            (folder / name).write_bytes(bytes(512))
    with pytest.raises(PipelineError, match=re.escape(message)):
        verify.run(home, str(folder), cloud="", policy="", trust="", as_json=False)


def test_a_certificate_that_no_encoding_has_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, folder = given(tmp_path)
    (folder / "disk").write_bytes(bytes(512))
    signature = {
        "img_signature": "AAAA",
        "img_signature_hash_method": "SHA-256",
        "img_signature_key_type": "ECC_SECP384R1",
        "img_signature_certificate_uuid": "6f0b4c0a-7d5c-5e0e-9d62-0d6b4a2f1c11",
    }
    document = {
        "name": "disk",
        "size": 512,
        "digests": {"sha256": "0"},
        "properties": signature,
        "certificate": "\ud800",
    }
    (folder / "disk.signature.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    with pytest.raises(SystemExit):
        verify.run(home, str(folder), cloud="", policy="", trust="", as_json=False)
    output = capsys.readouterr().out
    assert "the certificate that came with the image is not a sound" in " ".join(output.split())
    assert output.splitlines()[-1].strip() == "NOT verified"
