"""``./inv sign`` of folders that another machine made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from pipeline.base.home import Home
from pipeline.cli.handlers import sign
from pipeline.signing.attestation.seal import BuildFacts
from pipeline.signing.keys.keyring import Keyring

DATA = bytes(4 << 20)
FACTS = BuildFacts(
    image={},
    recipe="small",
    options={},
    dependencies=[],
    tools={},
    accelerator="tcg",
    steps=[],
    invocation="r1",
    started="2026-12-01T00:00:00+00:00",
    finished="2026-12-01T00:01:00+00:00",
    builder="urn:golden-image-pipeline:builder:unattested",
    products={"raw": hashlib.sha256(DATA).hexdigest()},
)


def test_a_file_name_says_nothing_of_another_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path / "home", tmp_path / "cache")
    Keyring(home).new("default")
    folder = tmp_path / "built"
    folder.mkdir()
    (folder / "small.build.json").write_text(json.dumps(dataclasses.asdict(FACTS)))
    (folder / "small\x1b[2K\nsigned golden: sha256 0000\n.raw").write_bytes(DATA)
    sign.run(home, str(folder), sign.Keys(), method="SHA-256")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("signed small�[2K signed golden: sha256 0000 .raw: sha256 ")
