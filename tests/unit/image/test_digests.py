from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.image import digests


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=5000), max_size=8), st.sets(st.sampled_from(sorted(digests.SUPPORTED)), min_size=1))
def test_digests_equal_hashlibs(blocks: list[bytes], algorithms: set[str]) -> None:
    with digests.Hasher(algorithms) as hasher:
        for block in blocks:
            hasher.update(block)
        result = hasher.finish()
    whole = b"".join(blocks)
    assert result == digests.Digests(len(whole), {name: hashlib.new(name, whole).hexdigest() for name in algorithms})


def test_a_file_is_read_once_through_all_taps(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 10_000)
    seen = bytearray()
    result = digests.digest_file(path, taps=[seen.extend])
    assert bytes(seen) == path.read_bytes()
    assert result.sha256 == hashlib.sha256(seen).hexdigest()
    assert (result.md5, result.sha512) == (hashlib.md5(seen).hexdigest(), hashlib.sha512(seen).hexdigest())


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    with pytest.raises(RuntimeError), digests.Hasher() as hasher:
        hasher.update(b"x")
        raise RuntimeError
    assert threading.active_count() == before


def test_unknown_algorithm_is_refused() -> None:
    with pytest.raises(ValueError, match="crc32"):
        digests.Hasher(["crc32"])
