from __future__ import annotations

import pytest

from pipeline.base.home import Home
from pipeline.signing.keys.keyring import Keyring


@pytest.fixture
def keyring(home: Home) -> Keyring:
    return Keyring(home, passphrases=lambda _: None)
