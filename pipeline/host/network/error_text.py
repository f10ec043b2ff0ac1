"""Say why something on the network could not be read, in plain words instead of an HTTP library's."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator

from pipeline.base.retry import TRANSIENT

_WORDS = {
    errno.ECONNREFUSED: "nothing listens there (connection refused)",
    errno.ENETUNREACH: "this machine has no network that leads there",
    errno.EHOSTUNREACH: "no way leads to that host",
    errno.ECONNRESET: "the connection broke",
    errno.EPIPE: "the connection broke",
}


def reason(error: BaseException, connect: float, silence: float) -> str:
    """Return what failed, in a few words. ``connect`` and ``silence``: the time limits in seconds that were set."""
    if type(error).__name__ == "TooManyRedirects":
        return "it redirects in circles"
    answer = getattr(error, "response", None)
    if answer is not None:
        return f"the server answered {answer.status_code} {answer.reason}"
    causes = list(_causes(error))
    names = {type(cause).__name__ for cause in causes}
    if "ProxyError" in names:
        return "the proxy that the environment names does not work"
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted here: {cause.verify_message}"
        if isinstance(cause, socket.gaierror):
            return "its name is not known (is there a network, is the name right?)"
    if any("Timeout" in name for name in names):
        return f"no answer within {connect if any('Connect' in name for name in names) else silence:g} s"
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return "it speaks no TLS that this machine accepts"
        if isinstance(cause, OSError) and cause.errno:
            return _WORDS.get(cause.errno) or os.strerror(cause.errno)
    if names & {"ProtocolError", "ChunkedEncodingError", "IncompleteRead", "RemoteDisconnected"}:
        return "the connection broke"
    lines = str(error).splitlines()
    return lines[0][:200] if lines and lines[0] else type(error).__name__


def may_pass(error: Exception) -> bool:
    """Return whether asking again may help: no connection, a broken one, or a server that is in trouble."""
    import requests

    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code in TRANSIENT
    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, passing)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what it came of, to the first cause."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
