"""Keep what is known of the request that is being answered."""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from dataclasses import dataclass, field

import falcon

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.data.slots.slots import Slots
from pipeline.imageservice.errors import HeaderTooLong, NotAuthenticated

_SAFE = re.compile(r"[^\x21-\x7e]")


@dataclass(slots=True)
class RequestContext:
    """The state of one request. ``held``: what it gives back in the end."""

    request_id: str
    slots: Slots
    started: float = field(default_factory=time.monotonic)
    caller: Caller | None = None
    image_id: str | None = None
    problem: str | None = None
    held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)


def new_request_id(sent: str | None, longest: int) -> str:
    """Return the id of a request: the client's own when it sent one. Raises ``HeaderTooLong``."""
    if not sent:
        return f"req-{uuid.uuid4()}"
    if len(sent) > longest:
        raise HeaderTooLong(f"X-Openstack-Request-Id is longer than {longest} characters")
    safe = _SAFE.sub("", sent)
    return safe if safe.startswith("req-") else f"req-{safe}"


def context_of(req: falcon.Request) -> RequestContext:
    """Return the request's context."""
    context: RequestContext = req.context.service
    return context


def caller_of(req: falcon.Request) -> Caller:
    """Return who makes the request. Raises ``NotAuthenticated`` on the few paths where nobody has to be."""
    caller = context_of(req).caller
    if caller is None:
        raise NotAuthenticated("This call needs a token.")
    return caller
