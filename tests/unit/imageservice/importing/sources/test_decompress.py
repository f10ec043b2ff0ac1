from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import zipfile
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.sources import FromStream
from pipeline.imageservice.errors import LimitExceeded, ServiceError, UnsupportedContent
from pipeline.imageservice.importing.sources import decompress
from pipeline.imageservice.importing.sources.decompress import DecompressedSource, kind_of


def zipped(data: bytes, *, method: int = zipfile.ZIP_DEFLATED, members: int = 1, seekable: bool = True) -> bytes:
    out = io.BytesIO()
    target: io.IOBase = out if seekable else _Pipe(out)
    with zipfile.ZipFile(target, "w", method) as archive:
        for number in range(members):
            archive.writestr(f"../disk{number}.raw", data)
    return out.getvalue()


class _Pipe(io.RawIOBase):
    def __init__(self, out: io.BytesIO) -> None:
        self.out = out

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return self.out.write(data)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "zip": zipped,
}
DATA = random.Random(1).randbytes(300_000) + bytes(2_000_000) + b"end"


def unpack(packed: bytes, kind: str | None = None, ratio: int = 1000) -> bytes:
    cancel_token = CancelToken()
    kind = kind or kind_of(packed[: decompress.HEAD])
    assert kind is not None
    source = DecompressedSource(FromStream(io.BytesIO(packed), len(packed)), kind, len(packed), ratio, cancel_token)
    out, view = bytearray(), memoryview(bytearray(100_000))
    while count := source.readinto(view, cancel_token):
        out += view[:count]
    assert source.ended
    return bytes(out)


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("data", [DATA, b"", b"x", bytes(70_000)], ids=["mixed", "empty", "one", "zeros"])
def test_round_trip(kind: str, data: bytes) -> None:
    packed = PACKERS[kind](data)
    assert kind_of(packed[:6]) == kind
    assert unpack(packed) == data


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
def test_several_streams_in_a_row(kind: str) -> None:
    assert unpack(PACKERS[kind](DATA) + PACKERS[kind](b"more")) == DATA + b"more"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_files(method: int) -> None:
    assert unpack(zipped(DATA, method=method)) == DATA
    with pytest.raises(UnsupportedContent):
        unpack(zipped(DATA, method=method, members=2))


def test_a_zip_file_that_was_written_to_a_pipe() -> None:
    assert unpack(zipped(DATA, seekable=False)) == DATA
    with pytest.raises(UnsupportedContent):
        unpack(zipped(DATA, seekable=False, members=2))


def test_zip_files_nobody_can_read_without_more() -> None:
    plain = bytearray(zipped(DATA))
    plain[6] |= 1  # encrypted
    with pytest.raises(UnsupportedContent):
        unpack(bytes(plain))
    with pytest.raises(UnsupportedContent):
        unpack(zipped(DATA, method=zipfile.ZIP_LZMA))


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("rest", [7, 30, 0.5, 0.99, -5, -1])
def test_what_ends_too_early_is_refused(kind: str, rest: float) -> None:
    packed = PACKERS[kind](DATA)
    end = int(len(packed) * rest) if 0 < rest < 1 else int(rest)
    if kind == "zip" and rest < 0:
        return  # the directory's end, behind everything that is read
    with pytest.raises(UnsupportedContent):
        unpack(packed[:end], kind)


@pytest.mark.parametrize("kind", PACKERS)
def test_damage_is_seen(kind: str) -> None:
    packed = bytearray(PACKERS[kind](DATA))
    packed[len(packed) // 2] ^= 0x55
    with pytest.raises(UnsupportedContent):
        unpack(bytes(packed), kind)


@pytest.mark.parametrize("kind", PACKERS)
def test_bombs_are_defused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompress, "_FREE", 1 << 20)
    bomb = PACKERS[kind](bytes(8 << 20))
    with pytest.raises(LimitExceeded):
        unpack(bomb, ratio=10)
    assert len(unpack(bomb, ratio=1_000_000)) == 8 << 20


def test_memory_of_decoders_is_bounded() -> None:
    greedy = lzma.compress(b"x" * 1000, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}])
    with pytest.raises(UnsupportedContent):
        unpack(greedy)
    wide = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
    )
    out = wide.compressobj()
    with pytest.raises(UnsupportedContent):
        unpack(out.compress(b"x" * 1000) + out.flush())


def test_plain_data_is_not_compressed() -> None:
    for head in (b"", b"QFI\xfb\0\0", bytes(6), b"\x1f\x8b", b"PK\x01\x02", b"hello!"):
        assert kind_of(head) is None


@given(st.binary(max_size=300), st.sampled_from(sorted(PACKERS)))
@settings(max_examples=100, deadline=None)
def test_nonsense_is_refused_like_any_damage(data: bytes, kind: str) -> None:
    magic = PACKERS[kind](b"")[:4]
    try:
        unpack(magic + data, kind)
    except ServiceError as error:
        assert isinstance(error, UnsupportedContent | LimitExceeded)


def dictionary_of(mebibytes: int) -> bytes:
    """A small xz file that says that it needs so large a dictionary."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 16}]
    small = bytearray(lzma.compress(b"x" * 100, filters=filters))
    code = next(bits for bits in range(40) if (2 | (bits & 1)) << (bits // 2 + 11) >= mebibytes << 20)
    # The block's header is at 12: its size, flags, the filter's id, the length of its properties, and these.
    small[12 + 4] = code
    small[12 + 8 : 12 + 12] = zlib.crc32(small[12 : 12 + 8]).to_bytes(4, "little")
    return bytes(small)


def window_of(exponent: int) -> bytes:
    """A small zstd file that says that it needs a window of so many bits."""
    # Magic, a descriptor of nothing, the window's exponent, and a last block with the bytes as they are.
    return b"\x28\xb5\x2f\xfd" + bytes([0, (exponent - 10) << 3]) + (100 << 3 | 1).to_bytes(3, "little") + b"x" * 100


def encrypted(data: bytes) -> bytes:
    packed = bytearray(zipped(data))
    packed[6] |= 1
    return bytes(packed)


SOUND = {
    "two members": (zipped(DATA, members=2), "more than one member"),
    "two members, streamed": (zipped(DATA, members=2, seekable=False), "more than one member"),
    "encrypted": (encrypted(b"x" * 100), "encrypted"),
    "bzip2 in zip": (zipped(b"x" * 100, method=zipfile.ZIP_BZIP2), "packed by bzip2"),
    "lzma in zip": (zipped(b"x" * 100, method=zipfile.ZIP_LZMA), "packed by LZMA"),
    "a dictionary of 768 MiB": (dictionary_of(768), "smaller dictionary"),
    "--long=31": (window_of(31), "--long=27"),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_archives_that_are_not_taken_are_named(name: str) -> None:
    packed, cause = SOUND[name]
    with pytest.raises(UnsupportedContent) as refused:
        unpack(packed)
    assert cause in refused.value.message and "damaged" not in refused.value.message


def test_what_is_large_but_taken() -> None:
    assert unpack(dictionary_of(64)) == b"x" * 100
    assert unpack(window_of(27)) == b"x" * 100
