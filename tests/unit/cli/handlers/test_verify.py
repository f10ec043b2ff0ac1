"""``./inv verify`` of folders that somebody else made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.base.home import Home
from pipeline.cli.handlers import verify
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
