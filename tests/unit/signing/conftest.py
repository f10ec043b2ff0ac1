from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.base.home import Home
from pipeline.signing.keyring import Keyring


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", tmp_path / "cache")


@pytest.fixture
def keyring(home: Home) -> Keyring:
    return Keyring(home, passphrases=lambda _: None)
