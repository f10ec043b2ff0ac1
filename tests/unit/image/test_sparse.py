"""Sparse files: every byte is told, and no hole is read."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.image.sparse import BLOCK, extents, read_blocks

_PAGE = 4096


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3 * BLOCK)), max_size=6))
def test_the_bytes_are_those_of_the_file(pieces: list[tuple[bool, int]]) -> None:
    with tempfile.NamedTemporaryFile() as file:
        for is_data, length in pieces:
            if is_data:
                file.write(b"\x07" * length)
            else:
                file.truncate(file.seek(length, os.SEEK_CUR))
        file.flush()
        path = Path(file.name)
        blocks = list(read_blocks(path))
        assert b"".join(blocks) == path.read_bytes()
        assert all(0 < len(block) <= BLOCK for block in blocks)


def test_holes_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "holes"
    with path.open("wb") as file:
        file.truncate(1 << 30)
        file.seek(512 << 20)
        file.write(b"x" * _PAGE)
    blocks = list(read_blocks(path))
    assert len({id(block) for block in blocks if len(block) == BLOCK}) == 1, "the same zeros for all holes"
    assert sum(map(len, blocks)) == 1 << 30
    with path.open("rb") as file:
        ((start, end),) = extents(file.fileno(), 1 << 30)
    assert start <= 512 << 20 and end >= (512 << 20) + _PAGE and end - start <= BLOCK


def test_what_is_appended_meanwhile_is_told_too(tmp_path: Path) -> None:
    path = tmp_path / "grows"
    path.write_bytes(b"a" * (2 * BLOCK))
    blocks = read_blocks(path)
    first = next(blocks)
    with path.open("ab") as file:
        file.write(b"tail")
    assert first + b"".join(blocks) == path.read_bytes()


def test_pipes_are_read_to_their_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"from a pipe",))
    writer.start()
    assert b"".join(read_blocks(pipe)) == b"from a pipe"
    writer.join()
