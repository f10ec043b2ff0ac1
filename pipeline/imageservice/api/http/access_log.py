"""Log one line for each request: JSON that an operator can read, and a machine can search.

A refused request's line says why, so that nothing else is logged of it. Tokens, bodies and answers are in no line.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import falcon

from pipeline.imageservice.api.context import RequestContext
from pipeline.imageservice.api.http.client_address import ClientAddress

log = logging.getLogger("imageservice.access")
_LONGEST = 500


def write(
    req: falcon.Request, resp: falcon.Response, context: RequestContext, seconds: float, client: ClientAddress
) -> None:
    """Log one answered request of ``client``."""
    if not log.isEnabledFor(logging.INFO):
        return
    status = resp.status_code
    line: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "request": context.request_id,
        "from": client.shown,
        "method": req.method[:16],
        "path": _cut(req.path),
        "status": status,
        "ms": round(seconds * 1000, 1),
    }
    if client.trusted and client.peer is not None:
        line["via"] = str(client.peer)
    if req.query_string:
        line["query"] = _cut(req.query_string)
    if context.caller is not None:
        line |= {"user": context.caller.user, "project": context.caller.project}
    if context.image_id is not None:
        line["image"] = _cut(context.image_id)
    if context.problem is not None:
        line["why"] = _cut(context.problem)
    log.info("%s", json.dumps(line, ensure_ascii=True))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
