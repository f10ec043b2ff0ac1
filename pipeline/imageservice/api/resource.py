"""Share what all resources need: answers in JSON, bodies out of JSON, and refusals of what they do not take."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NoReturn

import falcon

from pipeline.base import json_text
from pipeline.base.plain_text import one_line
from pipeline.imageservice.api.context import context_of
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.slots.slots import SlotKind
from pipeline.imageservice.data.slots.turns import LONG_BODY
from pipeline.imageservice.data.wsgi_environ import SLOW_BODY, SOURCE
from pipeline.imageservice.errors import Invalid, LimitExceeded, MethodNotAllowed, NotFound
from pipeline.imageservice.service import Service

# Proxies keep a few kilobytes for all headers of an answer.
_WARNINGS = 5
_LONGEST_WARNING = 200
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# Lists and objects in a body at the most: the reader makes each of them while no other thread runs, and a megabyte of
# nothing but brackets takes it half a second.
_CONTAINERS = 100_000
_TEXT = re.compile(rb'"(?:[^"\\]|\\.?)*+(?:"|\Z)', re.DOTALL)
_ESCAPED_TROUBLE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


class Resource:
    """One path of the API: ``on_get``, ``on_post`` … answer its methods."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def on_options(self, req: falcon.Request, resp: falcon.Response, **parts: str) -> NoReturn:
        """Refuse: Falcon would answer by itself, and the API has no such method."""
        raise MethodNotAllowed(self.methods)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods this path answers."""
        return tuple(method for method in _METHODS if hasattr(self, f"on_{method.lower()}"))


class GetOnly(Resource):
    """A path on which the reference knows nothing but GET, and says 404 instead of 405 to the rest."""

    def on_options(self, req: falcon.Request, resp: falcon.Response, **parts: str) -> NoReturn:
        """There is nothing here for any other method."""
        raise NotFound("The resource could not be found.")

    on_head = on_post = on_put = on_patch = on_delete = on_options


def answer_json(resp: falcon.Response, document: Any, status: int = 200) -> None:
    """Answer with a JSON document."""
    resp.status = status
    resp.content_type = "application/json"
    resp.data = json.dumps(document).encode()


def answer_warnings(resp: falcon.Response, warnings: Sequence[str]) -> None:
    """Say beside an answer what is odd about what it did: in headers that any client shows or drops (RFC 7234, 5.5)."""
    for text in warnings[:_WARNINGS]:
        plain = one_line(text).encode("ascii", "backslashreplace").decode()[:_LONGEST_WARNING]
        quoted = plain.replace("\\", "\\\\").replace('"', '\\"')
        resp.append_header("Warning", f'299 - "{quoted}"')


def answer_accepted(resp: falcon.Response) -> None:
    """Answer that the work has begun. The empty body must not be announced as JSON: clients would parse it."""
    resp.status = 202
    resp.content_type = "text/plain; charset=utf-8"


def has_body(req: falcon.Request) -> bool:
    """Return whether the request carries a body; one sent in chunks counts, whatever is in it."""
    return bool(req.content_length) or bool(req.get_header("Transfer-Encoding"))


# Bytes of a body that names something: a member, a location, an import. Only an image's own fields may be more.
SMALL_BODY = 64 << 10
_PIECE = 64 << 10


def refuse_body(req: falcon.Request) -> None:
    """Raise ``Invalid`` when the request carries a body where none belongs."""
    if has_body(req):
        raise Invalid("Unexpected body in request: this call takes none")


def read_json(req: falcon.Request, longest: int) -> Any:
    """Return the request's JSON body: an object or a list. Raises ``Invalid``, ``LimitExceeded``."""
    if not has_body(req):
        raise Invalid("Missing required request body")
    raw = _read(req, longest)
    if len(raw) > LONG_BODY:
        # What such a body asks for costs so much that it is done by turns, until the answer is ready.
        context = context_of(req)
        context.held.enter_context(context.slots.turns.held(context.caller.project if context.caller else None))
    _check_containers(raw)
    try:
        document = json_text.loads(raw)
    except UnicodeDecodeError:
        raise Invalid("Malformed JSON in request body: it is not UTF-8") from None
    except ValueError as error:
        raise Invalid(f"Malformed JSON in request body: {_first_line(error)}") from None
    if not isinstance(document, dict | list):
        raise Invalid("The request body must be a JSON object or a list")
    if _ESCAPED_TROUBLE.search(raw):
        _refuse_unstorable(document)
    return document


def _check_containers(raw: bytes) -> None:
    """Raise ``LimitExceeded`` for more lists and objects than any request has, before they are made."""
    if _brackets(raw) > _CONTAINERS and _brackets(_TEXT.sub(b"", raw)) > _CONTAINERS:
        raise LimitExceeded(f"The request body has more than {_CONTAINERS} lists and objects")


def _brackets(raw: bytes) -> int:
    return raw.count(b"[") + raw.count(b"{")


def _read(req: falcon.Request, longest: int) -> bytes:
    length = req.content_length
    if length is not None and length > longest:
        raise LimitExceeded(f"The request body is longer than {longest} bytes")
    size = longest + 1 if length is None else length
    try:
        raw = _read_slowly(req, size) if req.env.get(SLOW_BODY) else req.stream.read(size)
    except OSError:
        raise Invalid("The request body ended too early") from None
    if length is not None and len(raw) < length:
        raise Invalid("The request body ended too early")
    if len(raw) > longest:
        raise LimitExceeded(f"The request body is longer than {longest} bytes")
    return raw


def _read_slowly(req: falcon.Request, size: int) -> bytes:
    """Return a body that may keep its reader waiting, in a slot of the caller's project."""
    context, source, token = context_of(req), req.env[SOURCE], CancelToken()
    project = context.caller.project if context.caller is not None else None
    raw = bytearray()
    with context.slots.held(SlotKind.BODY, project, token) as slot:
        while len(raw) < size:
            piece = bytearray(min(_PIECE, size - len(raw)))
            count = source.readinto(memoryview(piece), token)
            if not count:
                break
            raw += memoryview(piece)[:count]
            slot.advance(len(raw), size)
    return bytes(raw)


def check_text(text: str, what: str) -> str:
    """Return ``text``, if every store and database can keep it. Raises ``Invalid``."""
    if "\0" in text:
        raise Invalid(f"{what} holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Invalid(f"{what} is not valid Unicode text") from None
    return text


def _refuse_unstorable(value: Any) -> None:
    """Walk what was read: NUL and half surrogate pairs can hide in JSON's escapes."""
    if isinstance(value, str):
        check_text(value, "A text in the request body")
    elif isinstance(value, dict):
        for name, item in value.items():
            check_text(name, "A name in the request body")
            _refuse_unstorable(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_unstorable(item)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
