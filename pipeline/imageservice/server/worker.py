"""Serve HTTP in a worker process: gunicorn's thread worker, with image data kept apart from other requests.

A connection costs a thread only once its request has arrived; before that, and while it is idle or closing, it waits in
the event loop. Requests then run in one of two pools: those that move image data, wait for a store or carry a long body
in the large one, everything else in the small one. So stuck and slow clients, however many, never stand in the way of
a request for metadata; nor do those that do not read what they asked for: an answer that is long, or not taken at once,
is handed on to the large one. That has a thread for everything on the node that may hold a slot or wait for one: who
is served first is decided there (``data.slots``), by project.

It overrides parts of gunicorn's worker that are not a public interface, hence the pinned version.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import selectors
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn.http import get_parser
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.sock import ssl_context
from gunicorn.workers.gthread import ThreadWorker

from pipeline.imageservice.cancellation.active_transfers import running
from pipeline.imageservice.data.wsgi_environ import CONNECTION, HOLD_SLOT, SEND_FILE, SLOW_BODY, SOURCE
from pipeline.imageservice.server.answer import (
    LONG_ANSWER,
    AnsweredConnection,
    AnswerSocket,
    UnsentAnswer,
    send_if_it_goes,
)
from pipeline.imageservice.server.body import RequestBody
from pipeline.imageservice.server.lingering_close import GracefulConnection, LingeringClose
from pipeline.imageservice.server.options import ServerOptions
from pipeline.imageservice.server.refusals import refusal, require_known_coding
from pipeline.imageservice.server.request_peek import (
    PEEK,
    TimedSocket,
    is_bulk,
    is_image_data,
    missing_bytes,
    peek,
    unambiguous,
    waits_for_store,
    wake_at,
)
from pipeline.imageservice.server.sending import ClientWire, SentFile

log = logging.getLogger("imageservice.server")

_LAST_WORDS = 10.0  # seconds for cancelled transfers to tidy up
_DOORS = 64  # threads for TLS handshakes
# Seconds for which a thread that computes keeps the interpreter from others. A small request lets it go again and again
# (for each step of SQLite), and beside one that computes it waits so long to have it back each time.
_SWITCH = 0.0005
_SMALL_IDLE = 60.0  # seconds without a byte of what is no image data


class ImageWorker(ThreadWorker):  # type: ignore[misc]
    """One API process. ``app`` is ``application.ImageApplication``."""

    wsgi: Callable[..., Iterable[bytes]]

    def init_process(self) -> None:
        """In the new process, before the event loop runs."""
        self._options: ServerOptions = self.app.options
        self._arriving: dict[Any, float] = {}  # connection → when it is given up
        self._requests = ThreadPoolExecutor(self._options.request_threads, "request")
        self._doors = ThreadPoolExecutor(_DOORS, "door") if self.cfg.is_ssl else self._requests
        self._tls = ssl_context(self.cfg) if self.cfg.is_ssl else None
        sys.setswitchinterval(_SWITCH)
        # The arbiter waits longer than the worker, which then still has time to undo what it had to cut off.
        self.cfg.set("graceful_timeout", int(self._options.stop_timeout))
        super().init_process()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Return the pool for image data, which is gunicorn's own."""
        return ThreadPoolExecutor(pool_size(self._options), "transfer")

    def load_wsgi(self) -> None:
        """Put what transfers need in addition to the standard environment."""
        super().load_wsgi()
        application: Callable[..., Iterable[bytes]] = self.wsgi

        def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            body: RequestBody = environ["wsgi.input"]
            sock: AnswerSocket = environ["gunicorn.socket"]
            environ[SOURCE] = body
            environ[CONNECTION] = ClientWire(sock.connection)
            environ[SLOW_BODY] = body.is_slow
            if not self.cfg.is_ssl:
                environ[SEND_FILE] = partial(SentFile, sock.connection, idle=self._options.idle_timeout)

            def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
                body.settle()
                return start_response(status, headers, *more)

            answer = application(environ, start)
            if isinstance(answer, list):  # else it is the data of an image, which has a slot and a thread for transfers
                sock.keep(environ.get(HOLD_SLOT))
            return answer

        self.wsgi = wsgi

    def run(self) -> None:
        """Serve until told to stop; then let transfers run on, and in the end cut them off."""
        self._lingering = LingeringClose(self.poller, self._drop, self.worker_connections // 4)
        super().run()
        running.stop()
        running.wait(_LAST_WORDS)
        # The interpreter would wait for every thread, also for one that hangs in a store.
        logging.shutdown()
        os._exit(0)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """SIGQUIT, SIGINT: as SIGTERM, but nothing may run on."""
        self.cfg.set("graceful_timeout", int(_LAST_WORDS))
        running.stop()
        self.handle_exit(sig, frame)

    def set_accept_enabled(self, enabled: bool) -> None:
        """See gunicorn. A stopping worker closes its listeners: a connection that nobody will serve is refused."""
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                listener.close()

    # The life of a connection, in the event loop's thread.

    def accept(self, listener: Any) -> None:
        """Take new connections."""
        for _ in range(64):
            try:
                client, address = listener.accept()
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                    return
                raise
            self.nr_conns += 1
            self._arrive(GracefulConnection(self.cfg, client, address, listener.getsockname()))

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """Take up the next request that begins on a kept connection."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._arrive(conn)

    def _arrive(self, conn: Any) -> None:
        """Wait in the event loop for the whole of a short request, or for a long one's header."""
        conn.data_ready = False
        awaited = [0]
        self._arriving[conn] = time.monotonic() + self._options.header_timeout
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_bytes, conn, awaited))
        if not self.cfg.is_ssl:
            self._on_bytes(conn, awaited, conn.sock)

    def _on_bytes(self, conn: Any, awaited: list[int], _socket: Any) -> None:
        """More of a request has come; ``awaited`` is how much was waited for."""
        head = b"" if self.cfg.is_ssl else peek(conn.sock)
        if head is None or ((missing := missing_bytes(head)) and len(head) >= awaited[0]):
            # Waking up with less than was waited for would mean that no more comes.
            awaited[0] = len(head or b"") + (missing if head else 1)
            if wake_at(conn.sock, awaited[0]):
                return
        del self._arriving[conn]
        self.poller.unregister(conn.sock)
        wake_at(conn.sock, 1)
        if head and len(head) >= PEEK and b"\r\n\r\n" not in head:
            with contextlib.suppress(OSError):
                conn.sock.send(refusal(LimitRequestHeaders("")) or b"")
            self._lingering.begin(conn)
        else:
            self.enqueue_req(conn)

    def enqueue_req(self, conn: Any) -> None:
        """Read a request that has come."""
        conn.data_ready = True
        self._submit(self._doors, conn)

    def _submit(self, pool: ThreadPoolExecutor, conn: Any, work: Callable[[], Any] | None = None) -> None:
        """Have a thread read and answer a request, or do other ``work`` of the connection."""
        conn.pool = pool
        future = pool.submit(work or partial(self.handle, conn))
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """Take the connection back from a thread that is done with it."""
        try:
            result = fs.result() if not fs.cancelled() else False
        except Exception:
            log.exception("a connection's thread failed")
            result = False
        if isinstance(result, _HandOver):
            self._submit(result.pool, conn)
        elif isinstance(result, UnsentAnswer):
            self._submit(self.tpool, conn, partial(result.send, min(_SMALL_IDLE, self._options.idle_timeout)))
        elif result and self.cfg.is_ssl and conn.sock.pending():
            self.enqueue_req(conn)  # the next request has come and been deciphered: no event will tell of it
        elif result:
            super().finish_request(conn, fs)
        else:
            self._lingering.begin(conn)

    def murder_pending(self) -> None:
        """Give up connections that have waited too long. Called at least once a second."""
        now = time.monotonic()
        for conn in [conn for conn, until in self._arriving.items() if until <= now or not self.alive]:
            self._forget(conn)
        self._lingering.expire(stopping=not self.alive)

    def _forget(self, conn: Any) -> None:
        del self._arriving[conn]
        self.poller.unregister(conn.sock)
        self._drop(conn)

    def _drop(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()

    # One request, in a thread.

    def handle(self, conn: Any) -> Any:
        """Read a request and answer it, or hand it over to the pool it belongs to."""
        if not conn.initialized:
            try:
                self._open(conn)
            except (OSError, ValueError) as error:
                log.debug("a connection from %s was not opened: %s", conn.client, error)
                return False
        return super().handle(conn)

    def _open(self, conn: Any) -> None:
        """Do what gunicorn does, with a time limit."""
        if self._tls is not None:
            conn.sock.settimeout(self._options.header_timeout)
            conn.sock = self._tls.wrap_socket(conn.sock, server_side=True, do_handshake_on_connect=False)
            conn.sock.do_handshake()
        conn.initialized = True
        conn.parser = get_parser(self.cfg, conn.sock, conn.client)
        conn.parser.unreader.sock = TimedSocket(conn.sock, self._options.header_timeout)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """See gunicorn; called with a request that has been read."""
        req.headers = unambiguous(req.headers)
        require_known_coding(req.headers)
        reader = req.body.reader
        slow = self._may_be_slow(req)
        pool = self.tpool if slow or is_bulk(req) or waits_for_store(req, conn.parser.unreader) else self._requests
        if pool is not conn.pool:
            conn.parser = _ParsedAlready(conn, req)
            return _HandOver(pool)
        idle = self._options.idle_timeout if is_image_data(req) else min(_SMALL_IDLE, self._options.idle_timeout)
        conn.sock.settimeout(idle)
        req.body = RequestBody(
            conn.sock,
            conn.parser.unreader,
            reader.length if isinstance(reader, LengthReader) else None,
            expects_continue=req._expected_100_continue,
            idle=idle,
            unfinished=req.force_close,
        )
        req.body.is_slow = slow
        req._expected_100_continue = False  # the body asks for it
        sock = AnswerSocket(conn.sock)
        try:
            keep_alive = super().handle_request(req, AnsweredConnection(sock, conn.client, conn.server))
        except TimeoutError as error:
            # The client does not take its answer: its own fault, and nothing to be logged as ours.
            raise ConnectionResetError(errno.ECONNRESET, "the client takes no data") from error
        answer = sock.answer
        # Only a long answer to a question can still become another one, when there is no slot for it.
        if answer is None or ((answer.size <= LONG_ANSWER or req.method != "GET") and answer.send_at_once()):
            return keep_alive
        return UnsentAnswer(answer, keep_alive)

    def _may_be_slow(self, req: Any) -> bool:
        """Whether a request's body may keep its thread waiting: one that has not come with its header."""
        reader = req.body.reader
        if not isinstance(reader, LengthReader) or reader.length > PEEK:
            return True
        return bool(reader.length and (self.cfg.is_ssl or req._expected_100_continue))

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """See gunicorn: a request that cannot be read gets an answer like all others."""
        answer = refusal(exc)
        if answer is None:
            super().handle_error(req, client, addr, exc)
            return
        log.info("a request from %s was refused: %s", addr, exc)
        send_if_it_goes(client, answer)

    def _keepalive_after(self, conn: Any, keepalive: Any) -> Any:
        if isinstance(keepalive, UnsentAnswer):
            keepalive.keep_alive = super()._keepalive_after(conn, keepalive.keep_alive)
        return (
            keepalive if isinstance(keepalive, _HandOver | UnsentAnswer) else super()._keepalive_after(conn, keepalive)
        )


def pool_size(options: ServerOptions) -> int:
    """Return how many threads a process has for what may be slow: all slots of the node, and as many that wait; and
    long bodies that have come and wait for their turn.

    Which process a connection comes to is chance; threads are made when they are needed.
    """
    return 2 * sum(options.slots.values()) + 2 * options.slots["body"] + options.request_threads


class _HandOver:
    """The request has been read and belongs to ``pool``."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool = pool


class _ParsedAlready:
    """Stands for the parser of a connection whose request has been read and waits for a thread."""

    def __init__(self, conn: Any, req: Any) -> None:
        self._conn, self._parser, self._req = conn, conn.parser, req

    def __next__(self) -> Any:
        self._conn.parser = self._parser
        return self._req
