from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import PipelineError
from pipeline.signing.attestation import proof, seal

DOCUMENTS = {seal.SIGNATURE: b"{}\n", seal.ATTESTATIONS: b"line\n" * 1000, seal.SBOM: b"bill"}


def test_what_is_packed_comes_out_and_the_bytes_are_always_the_same() -> None:
    packed = proof.pack({**DOCUMENTS, "other": b"not ours"})
    assert proof.unpack(packed) == DOCUMENTS
    assert packed == proof.pack(dict(reversed(DOCUMENTS.items())))
    assert proof.unpack(proof.pack({seal.SBOM: b""})) == {seal.SBOM: b""}


@given(st.binary(max_size=3000))
def test_rubbish_is_refused_or_empty(data: bytes) -> None:
    try:
        assert proof.unpack(data) == {} or data.startswith(b"signature")
    except PipelineError as error:
        assert "no proof" in error.message


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "other"])
def test_nothing_else_is_taken_out(name: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(PipelineError, match="an entry"):
        proof.unpack(buffer.getvalue())


def test_links_are_refused() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(seal.SBOM)
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(PipelineError):
        proof.unpack(buffer.getvalue())


def test_what_claims_to_be_larger_than_it_is_is_refused() -> None:
    """A sparse file in GNU's format: one block that says it is a terabyte of zeros."""
    header = tarfile.TarInfo(seal.SBOM)
    header.type = tarfile.GNUTYPE_SPARSE
    raw = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    raw[386:482] = bytes(96)
    raw[386:398] = raw[398:410] = b"00000000000\0"  # one piece: nothing, at the start
    raw[483:495] = b"\x80" + (1 << 40).to_bytes(11)
    raw[148:156] = b"        "
    raw[148:156] = b"%06o\0 " % sum(raw)
    data = bytes(raw) + bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getmembers()[0].size == 1 << 40
    with pytest.raises(PipelineError, match="an entry"):
        proof.unpack(data)
