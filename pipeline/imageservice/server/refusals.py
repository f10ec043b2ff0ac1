"""Answer requests that are refused before the application sees them: in JSON, with a request id, as all else.

Which of gunicorn's errors means which status stands here; what the client sent comes into no answer but shortened.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors

LONGEST_LINE = 16 << 10  # bytes of a request's first line: dashboards ask for more than two hundred ids at once
_STATUSES: tuple[tuple[type[Exception], HTTPStatus, str], ...] = (
    (
        errors.LimitRequestLine,
        HTTPStatus.REQUEST_URI_TOO_LONG,
        f"The request's path and query are longer than {LONGEST_LINE} bytes: ask in parts",
    ),
    (
        errors.LimitRequestHeaders,
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The request's headers are too many or too long",
    ),
    (
        errors.UnsupportedTransferCoding,
        HTTPStatus.NOT_IMPLEMENTED,
        "Of transfer encodings only chunked is understood here",
    ),
    (errors.ExpectationFailed, HTTPStatus.EXPECTATION_FAILED, "The only expectation understood here is 100-continue"),
)


def refusal(problem: Exception) -> bytes | None:
    """Return the whole answer to a request that cannot be read; ``None`` when it is not the request that is wrong."""
    if not isinstance(problem, errors.ParseException):
        return None
    for kind, status, message in _STATUSES:
        if isinstance(problem, kind):
            return rendered(status, message)
    if _names_a_coding(problem):
        return rendered(HTTPStatus.NOT_IMPLEMENTED, "Of transfer encodings only chunked is understood here")
    return rendered(HTTPStatus.BAD_REQUEST, f"The request is malformed: {str(problem)[:200]}")


def rendered(
    status: HTTPStatus, message: str, *, request_id: str | None = None, headers: Mapping[str, str] | None = None
) -> bytes:
    """Return an error as an answer of HTTP/1.1, after which the connection ends. ``request_id``: a new one if none."""
    reason = "Request Header Fields Too Large" if status == 431 else status.phrase
    body = json.dumps({"message": message, "code": f"{status:d} {reason}", "title": reason}).encode()
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = (
        f"HTTP/1.1 {status:d} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n{more}"
        f"X-Openstack-Request-Id: {request_id or f'req-{uuid.uuid4()}'}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def require_known_coding(headers: list[tuple[str, str]]) -> None:
    """Raise ``UnsupportedTransferCoding`` for a body that is coded otherwise than in chunks: it would be stored so."""
    for name, value in headers:
        if name == "TRANSFER-ENCODING" and value.strip().lower() != "chunked":
            raise errors.UnsupportedTransferCoding(value)


def _names_a_coding(problem: Any) -> bool:
    """Whether a header that gunicorn calls invalid names a transfer encoding that we do not have."""
    if not isinstance(problem, errors.InvalidHeader) or problem.hdr != "TRANSFER-ENCODING" or problem.req is None:
        return False
    codings = [value for name, value in problem.req.headers if name == "TRANSFER-ENCODING"]
    return any(each.strip().lower() not in ("chunked", "") for value in codings for each in value.split(","))
