"""Answers that are kept until their clients take them."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.slots.errors import NoSlot
from pipeline.imageservice.data.slots.slots import Slot, SlotKind
from pipeline.imageservice.errors import Unavailable
from pipeline.imageservice.server.answer import AnswerSocket, KeptAnswer, send_if_it_goes

HEAD = b"HTTP/1.1 200 OK\r\nx-openstack-request-id: req-seven\r\n\r\n"
LONG = os.urandom(8 << 20)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's end of a connection, and the client's, which does not wait for long."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(30)
    with ours, theirs:
        yield ours, theirs


def kept(connection: socket.socket, *parts: bytes, slot: Exception | None = None) -> KeptAnswer:
    """An answer of these parts, for which there is a slot or a reason why not."""

    @contextlib.contextmanager
    def hold(token: CancelToken) -> Iterator[Slot]:
        if slot is not None:
            raise slot
        yield Slot(SlotKind.ANSWER, 0, token, 0, 60)

    answer = KeptAnswer(connection, hold)
    for part in parts:
        answer.add(part)
    return answer


def received(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 20), b""))


def test_what_is_not_kept_goes_out_as_on_any_socket(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    stand_in = AnswerSocket(ours)
    stand_in.sendall(b"data of an image")
    assert stand_in.answer is None
    assert theirs.recv(100) == b"data of an image"
    stand_in.keep(None)
    stand_in.sendall(HEAD)
    assert stand_in.fileno() == ours.fileno()
    kept_answer: KeptAnswer | None = stand_in.answer
    assert kept_answer is not None
    assert kept_answer.size == len(HEAD)
    assert kept_answer.send_at_once()
    assert theirs.recv(1000) == HEAD


@pytest.mark.parametrize("begun", [True, False])
def test_the_rest_is_sent_whole_and_in_order(ends: tuple[socket.socket, socket.socket], begun: bool) -> None:
    ours, theirs = ends
    answer = kept(ours, HEAD, b"", LONG)
    if begun:
        assert not answer.send_at_once()
        assert 0 < answer.size < len(HEAD) + len(LONG)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(received(theirs)))
    reader.start()
    assert answer.send(60)
    ours.shutdown(socket.SHUT_WR)
    reader.join()
    assert found == [HEAD + LONG]


def test_without_a_slot_an_answer_that_has_not_begun_becomes_a_refusal(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    assert not kept(ours, HEAD, LONG, slot=NoSlot("all are in use", 30)).send(60)
    ours.close()
    head, _, body = received(theirs).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 30\r\n" in head
    assert b"\r\nX-Openstack-Request-Id: req-seven\r\n" in head
    assert b"all are in use" in body


def test_without_a_slot_an_answer_that_has_begun_is_cut_off(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    answer = kept(ours, HEAD, LONG, slot=NoSlot("all are in use", 30))
    assert not answer.send_at_once()
    assert not answer.send(60)
    ours.close()
    said = received(theirs)
    assert (HEAD + LONG).startswith(said)
    assert len(said) < len(HEAD) + len(LONG)


def test_an_answer_that_has_to_end_for_others_keeps_neither_thread_nor_memory(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = ends
    begun, slots = threading.Event(), []

    @contextlib.contextmanager
    def hold(token: CancelToken) -> Iterator[Slot]:
        slots.append(Slot(SlotKind.ANSWER, 0, token, 0, 60))
        assert slots[0].moves
        begun.set()
        yield slots[0]

    answer = KeptAnswer(ours, hold)
    answer.add(LONG)
    done: list[bool] = []
    sender = threading.Thread(target=lambda: done.append(answer.send(900)))
    sender.start()
    assert begun.wait(30)
    slots[0].cancel_token.stop(Unavailable("others wait"))
    slots[0].cut()
    sender.join(30)
    assert done == [False]
    assert answer.size == 0


def test_a_client_that_takes_nothing_is_given_up(ends: tuple[socket.socket, socket.socket]) -> None:
    assert not kept(ends[0], LONG).send(0.05)


def test_a_client_that_has_left_is_no_error(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    theirs.close()
    assert not kept(ours, LONG).send(60)
    send_if_it_goes(ours, b"last words")


def test_last_words_wait_for_nobody(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = ends
    assert not kept(ours, LONG).send_at_once()
    send_if_it_goes(ours, b"last words")
