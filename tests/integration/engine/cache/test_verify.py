"""Find damage in a cache, and mend it."""

from __future__ import annotations

import os

import pytest

from pipeline.engine.cache.verify import discard, verify
from tests.integration.engine.conftest import Bench


@pytest.mark.parametrize("where", ["layers/*/disk.qcow2", "products/*/image.raw", "documents/*"])
def test_damage_is_found_and_mended(bench: Bench, where: str) -> None:
    bench.build()
    bench.ran()
    victim = next(bench.store.root.glob(where))
    victim.chmod(0o600)
    with victim.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    damages = verify(bench.store)
    assert damages and "bytes have changed" in str(damages[0])
    discard(bench.store, damages)
    assert bench.build()[0].is_good
    assert bench.ran()
    assert [damage for damage in verify(bench.store) if "missing" not in damage.what] == []
