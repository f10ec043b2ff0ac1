"""Bodies as they come from a connection, however they are cut."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.errors import ClientGone
from pipeline.imageservice.data.http_body import HttpBody
from pipeline.imageservice.errors import Invalid, ServiceError

NEXT = b"GET /next HTTP/1.1\r\n\r\n"


class Kept:
    """What was read with the head."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take_buffered(self) -> bytes:
        data, self.data = self.data, b""
        return data

    def unread(self, data: bytes) -> None:
        self.data = data + self.data


class Body(HttpBody):
    def gone(self) -> ServiceError:
        return ClientGone("gone")

    def stalled(self) -> ServiceError:
        return ClientGone("stalled")


def framed(parts: Sequence[bytes]) -> bytes:
    chunks = [b"%x;note=1\r\n%s\r\n" % (len(part), part) for part in parts if part]
    return b"".join(chunks) + b"0\r\nTrailer: x\r\n\r\n"


def read(ahead: bytes, sent: Sequence[bytes], length: int | None, sizes: Sequence[int]) -> tuple[bytes, bytes]:
    """The body, read with buffers of these sizes in turn, and what lay behind it."""
    ours, theirs = socket.socketpair()
    kept = Kept(ahead)

    def send() -> None:
        with theirs:
            for data in sent:
                theirs.sendall(data)

    sender = threading.Thread(target=send)
    sender.start()
    body, found, turn = Body(ours, kept, length, idle=5), b"", 0
    with ours:
        while True:
            buffer = bytearray(sizes[turn % len(sizes)])
            turn += 1
            count = body.readinto(memoryview(buffer), CancelToken())
            if not count:
                break
            found += buffer[:count]
        sender.join()
        ours.setblocking(False)
        left = kept.data
        while more := ours.recv(1 << 20):
            left += more
    return found, left


SIZES = st.lists(st.sampled_from([1, 7, 1000, 70_000, 1 << 20]), min_size=1, max_size=3)


@settings(deadline=None, max_examples=60)
@given(
    parts=st.lists(st.sampled_from([1, 2, 9, 500, 65_536, 100_001]), max_size=6),
    cuts=st.lists(st.integers(0, 400_000), max_size=4),
    ahead=st.sampled_from([0, 1, 3, 8, 64, 5_000]),
    sizes=SIZES,
)
def test_chunks_however_cut(parts: list[int], cuts: list[int], ahead: int, sizes: list[int]) -> None:
    content = [bytes([65 + number]) * size for number, size in enumerate(parts)]
    if sum(parts) > 2_000:
        sizes = [max(size, 1000) for size in sizes]
    wire = framed(content) + NEXT
    locations = sorted({0, *(cut for cut in cuts if cut < len(wire) - ahead), len(wire) - ahead})
    pieces = [wire[ahead:][start:end] for start, end in itertools.pairwise(locations)]
    found, left = read(wire[:ahead], pieces, None, sizes)
    assert found == b"".join(content)
    assert left == NEXT


def test_a_known_length_leaves_what_follows() -> None:
    data = bytes(range(256)) * 1000
    assert read(data[:100], [data[100:] + NEXT], len(data), [4096]) == (data, NEXT)


@pytest.mark.parametrize(
    "wire",
    [b"5\r\nabcdefg\r\n0\r\n\r\n", b"5\nabcde\r\n", b"x\r\n", b"-1\r\n", b"5\r\nabcde", b"1" * 9000, b"5 \r\nab\r\n\0"],
)
def test_broken_chunks(wire: bytes) -> None:
    with pytest.raises((Invalid, ClientGone)):
        read(b"", [wire], None, [1 << 20])
