"""The least a server in Python does with an upload: receive into a ring of blocks, hash in two threads, answer.

``python -m benchmarks.imageservice.raw_server PORT``. No routing, no database, no store, one connection at a time.
"""

from __future__ import annotations

import hashlib
import queue
import re
import socket
import sys
import threading

BLOCK = 1 << 20
_RING = 8
_DEPTH = 4
ALGORITHMS = ("md5", "sha512")


class Hashing:
    """Two hashes of the blocks that are put in, each in a thread of its own."""

    def __init__(self) -> None:
        self._queues: list[queue.Queue[memoryview | None]] = [queue.Queue(_DEPTH) for _ in ALGORITHMS]
        self._threads = [
            threading.Thread(target=self._run, args=pair) for pair in zip(ALGORITHMS, self._queues, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, block: memoryview) -> None:
        """Hash a block; it must stay as it is while ``_DEPTH`` + 1 others follow."""
        for line in self._queues:
            line.put(block)

    def finish(self) -> None:
        """Wait for both."""
        for line in self._queues:
            line.put(None)
        for thread in self._threads:
            thread.join()

    @staticmethod
    def _run(algorithm: str, line: queue.Queue[memoryview | None]) -> None:
        digest = hashlib.new(algorithm, usedforsecurity=False)
        while (block := line.get()) is not None:
            digest.update(block)


def serve(port: int) -> None:
    """Answer uploads for ever."""
    ring = [memoryview(bytearray(BLOCK)) for _ in range(_RING)]
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                _answer(connection, ring)


def _answer(connection: socket.socket, ring: list[memoryview]) -> None:
    head = bytearray()
    while b"\r\n\r\n" not in head:
        if not (more := connection.recv(1)):
            return
        head += more
    length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])  # type: ignore[index]
    hashing, number = Hashing(), 0
    while length:
        block = ring[number % _RING]
        number += 1
        got = connection.recv_into(block, min(length, BLOCK), socket.MSG_WAITALL)
        if not got:
            break
        hashing.put(block[:got])
        length -= got
    hashing.finish()
    connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")


if __name__ == "__main__":
    serve(int(sys.argv[1]))
