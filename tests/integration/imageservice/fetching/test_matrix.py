"""The fetcher's matrix: each kind of trouble, with and without ranges, ends in the right bytes or names its cause."""

from __future__ import annotations

import hashlib
import re
from contextlib import closing
from dataclasses import dataclass

import pytest

from pipeline.base.retry import RetryPolicy
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.fetching.attempts import Attempts
from pipeline.imageservice.fetching.errors import StartAnew
from pipeline.imageservice.fetching.options import FetchOptions
from pipeline.imageservice.fetching.ssrf_filter import SsrfFilter
from pipeline.imageservice.importing.options import DownloadOptions
from pipeline.imageservice.importing.sources.web import WebSource
from tests.integration.imageservice.fetching.troubled_server import (
    CHANGED,
    CODED,
    DATA,
    HALF,
    Asked,
    Reply,
    Trouble,
    TroubledServer,
    in_a_second,
    troubled,
)

pytestmark = pytest.mark.server


def first(reply: Reply, later: Reply | None = None, *, times: int = 1) -> Trouble:
    """``reply`` to the first requests, ``later`` afterwards."""
    return lambda asked, _: reply if asked.number < times else later or Reply()


def redirect(target: str, **more: object) -> Reply:
    return Reply(302, {"Location": target}, b"", tag=None)


def to_a_dead_mirror(asked: Asked, server: TroubledServer) -> Reply:
    port = server.dead_port if asked.number < 2 else server.port
    return redirect(f"http://127.0.0.1:{port}/mirror.img")


def every_time(reply: Reply) -> Trouble:
    return lambda asked, _: reply


@dataclass(frozen=True)
class Case:
    """``outcome``: the bytes, or a part of what the failure says. ``made``: attempts that fail before the outcome."""

    trouble: Trouble
    outcome: bytes | str
    made: int | None = None
    path: str = "/x.img"


UTF_8 = "/b\u00fccher und mehr/\u65e5\u672c.img?\u00e4=1".encode().decode("latin-1")
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" * 3
OK = b"HTTP/1.1 200 OK\r\n"
LONGER = OK + b"Content-Length: 5\r\n\r\nhello, world"
SHORTER = CHANGED[:999]
GZIP = {"Content-Encoding": "gzip"}
CASES = {
    # What passes by itself.
    "reset before an answer": Case(first(Reply(raw=b"", then="reset"), times=2), DATA, made=2),
    "closed without an answer": Case(first(Reply(raw=b""), times=2), DATA, made=2),
    "closed within the headers": Case(first(Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Le")), DATA, made=1),
    "429 with seconds": Case(first(Reply(429, {"Retry-After": "1"}, b"slowly")), DATA, made=1),
    "503 with a date": Case(first(Reply(503, {"Retry-After": in_a_second()}, b"later"), times=4), DATA, made=4),
    "a redirect to a dead mirror": Case(to_a_dead_mirror, DATA, made=2),
    "cut, strong validator": Case(first(Reply(cut=HALF, then="reset")), DATA, made=1),
    "cut, weak validator": Case(first(Reply(cut=HALF, tag='W/"one"'), Reply(tag='W/"one"')), DATA, made=1),
    "cut, no validator": Case(first(Reply(cut=HALF, tag=None), Reply(tag=None), times=4), DATA, made=4),
    "cut in a chunk": Case(first(Reply(cut=HALF, chunked=True)), DATA, made=1),
    "cut, and another file by then": Case(first(Reply(cut=HALF), Reply(body=CHANGED, tag='"two"')), CHANGED),
    "cut, another file, If-Range unheeded": Case(
        first(Reply(cut=HALF), Reply(body=CHANGED, tag='"two"', heeds_if_range=False)), CHANGED
    ),
    "cut, another file, weak validators": Case(
        first(Reply(cut=HALF, tag='W/"1"'), Reply(body=CHANGED, tag='W/"2"', heeds_if_range=False)), CHANGED
    ),
    "cut, and a shorter file by then": Case(
        first(Reply(cut=HALF), Reply(body=CHANGED[:999], tag='"two"')), CHANGED[:999]
    ),
    "cut, then another part than asked for": Case(
        lambda asked, _: Reply(cut=HALF) if asked.number == 0 else Reply(shift=1 if asked.number == 1 else 0), DATA
    ),
    "a server that stalls": Case(first(Reply(cut=HALF, then="stall")), DATA),
    # What a client has to understand.
    "interim answers": Case(every_time(Reply(before=INTERIM)), DATA, made=0),
    "UTF-8 and spaces in Location": Case(lambda asked, _: redirect(UTF_8), DATA, made=0),
    "trailers": Case(every_time(Reply(chunked=True, trailers=b"Digest: x\r\nX: y\r\n")), DATA, made=0),
    "x.gz said to be coded": Case(
        every_time(Reply(headers={"Content-Encoding": "gzip"}, body=CODED)), CODED, made=0, path="/x.img.gz"
    ),
    "x.gz said to be coded, cut": Case(
        lambda asked, _: Reply(headers={"Content-Encoding": "gzip"}, body=CODED, cut=None if asked.number else 999),
        CODED,
        made=1,
        path="/x.img.gz",
    ),
    "more than was announced": Case(
        every_time(Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, world")), b"hello"
    ),
    "a URI in another alphabet": Case(every_time(Reply()), DATA, made=0, path="/x.img/b\u00fccher"),
    # What has to be told.
    "cut each time": Case(every_time(Reply(cut=HALF, tag=None)), "broke the connection off after 524290 of", made=5),
    "another file each time": Case(lambda asked, _: Reply(cut=HALF, tag=f'"{asked.number}"'), "broke", made=None),
    "nobody there": Case(
        lambda asked, server: redirect(f"http://127.0.0.1:{server.dead_port}/"), "connection refused", made=5
    ),
    "503 each time": Case(every_time(Reply(503, body=b"")), "status 503 (Service Unavailable)", made=5),
    "403": Case(every_time(Reply(403, body=b"secrets")), "status 403 (Forbidden)", made=0),
    "404": Case(every_time(Reply(404, body=b"secrets")), "status 404 (Not Found)", made=0),
    "an empty file": Case(every_time(Reply(body=b"")), "empty file (0 bytes)", made=0),
    "an empty file in chunks": Case(every_time(Reply(body=b"", chunked=True)), "empty file (0 bytes)", made=0),
    "no content": Case(every_time(Reply(204, body=b"")), "status 204 (No Content)", made=0),
    "no length": Case(every_time(Reply(length=False)), "does not say how long", made=0),
    "a coding nobody asked for": Case(every_time(Reply(headers=GZIP, body=CODED)), "encoding", made=0),
    "a redirect in circles": Case(every_time(redirect("/x.img")), "redirects more than 5 times", made=0),
    "a redirect inside": Case(every_time(redirect("http://10.0.0.1/x")), "does not pass filtering", made=5),
    "a redirect to nowhere": Case(every_time(Reply(302, body=b"")), "no place to go", made=0),
    "no HTTP": Case(every_time(Reply(raw=b"220 ready\r\n")), "does not answer as a web server does", made=5),
    "a header without end": Case(every_time(Reply(raw=OK + b"X: " + b"y" * 500_000)), "does not answer"),
    "headers without end": Case(every_time(Reply(raw=OK + b"X: y\r\n" * 60_000)), "does not answer as a web server"),
    "chunks that are none": Case(
        every_time(Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")), "broke", made=5
    ),
}


def fetched(server: TroubledServer, path: str, history: list[str]) -> bytes:
    """What is fetched, begun anew as imports do it."""
    ssrf_filter = SsrfFilter(FetchOptions(allowed_ports=[], allowed_networks=["127.0.0.0/8"]))
    options = DownloadOptions(idle_seconds=1, connect_seconds=2)
    token = CancelToken()
    attempts = Attempts(RetryPolicy(attempts=5, first=0.01, heed=2), token, seconds=60, note=history.append)
    while True:
        data, room = bytearray(), memoryview(bytearray(100_000))
        try:
            with closing(WebSource(server.url(path), ssrf_filter, options, attempts)) as source:
                while not source.ended:
                    data += room[: source.readinto(room, token)]
        except StartAnew as broken:
            attempts.failed(broken)
        else:
            return bytes(data)


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
@pytest.mark.parametrize("name", CASES)
def test_right_bytes_or_a_cause(name: str, ranges: bool) -> None:
    case, history = CASES[name], list[str]()
    with troubled(case.trouble, ranges=ranges) as server:
        if isinstance(case.outcome, str):
            with pytest.raises(ServiceError) as failure:
                fetched(server, case.path, history)
            assert case.outcome in failure.value.message and "secrets" not in failure.value.message
        else:
            assert hashlib.sha256(fetched(server, case.path, history)).digest() == hashlib.sha256(case.outcome).digest()
    if case.made is not None:
        assert sum(line.startswith("attempt ") for line in history) == case.made, history
    assert all(re.match(r"attempt [1-5] of 5: |begun anew: ", line) for line in history), history


def test_a_resumed_fetch_asks_for_the_rest_only() -> None:
    with troubled(first(Reply(cut=HALF, then="close"), times=1), ranges=True) as server:
        assert fetched(server, "/x.img", []) == DATA
        assert server.asked["/x.img"] == 2
