"""Turn what went wrong into an HTTP answer: the one table, and the three shapes an error body has."""

from __future__ import annotations

import html
import json
import logging
from http import HTTPStatus

import falcon
from falcon import mediatypes

from pipeline.imageservice import errors
from pipeline.imageservice.data.errors import ClientGone, ClientStalled
from pipeline.imageservice.data.slots.errors import NoSlot, Preempted
from pipeline.imageservice.errors import ServiceError

log = logging.getLogger("imageservice.problems")

# The first line whose class fits decides.
STATUSES: tuple[tuple[type[ServiceError], int], ...] = (
    (errors.Invalid, 400),
    (errors.NotAuthenticated, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.MethodNotAllowed, 405),
    (ClientStalled, 408),
    (Preempted, 408),
    (errors.Conflict, 409),
    (errors.Gone, 410),
    (errors.LimitExceeded, 413),
    (errors.UnsupportedContent, 415),
    (errors.RangeNotSatisfiable, 416),
    (errors.Misdirected, 421),
    (errors.HeaderTooLong, 431),
    (ClientGone, 499),
    (errors.NotImplementedVerb, 501),
    (errors.UpstreamFailed, 502),
    (errors.Unavailable, 503),
    (errors.UpstreamTimeout, 504),
    (errors.StoreFailed, 500),
)
TITLES = {
    300: "Multiple Choices",
    413: "Request Entity Too Large",
    416: "Request Range Not Satisfiable",
    499: "Client Closed Request",
}


def status_of(problem: ServiceError) -> int:
    """Return the HTTP status of a domain error."""
    for kind, status in STATUSES:
        if isinstance(problem, kind):
            return status
    return 500


def title_of(status: int) -> str:
    """Return the reason phrase."""
    return TITLES.get(status) or HTTPStatus(status).phrase


def answer(req: falcon.Request, resp: falcon.Response, status: int, message: str) -> None:
    """Make ``resp`` an error with ``message`` for people, in the shape the client asked for."""
    title = title_of(status)
    resp.status = f"{status} {title}"
    media_type = _preferred(req.get_header("Accept") or "")
    if media_type == "text/html":
        resp.content_type = "text/html; charset=UTF-8"
        # Clients take the tags off and print the rest: quotes need no escape in a text, and are read as they are.
        text = html.escape(message, quote=False)
        resp.data = _HTML.format(title=f"{status} {title}", text=text).encode()
    elif media_type == "application/json":
        resp.content_type = "application/json"
        resp.data = json.dumps({"message": message, "code": f"{status} {title}", "title": title}).encode()
    else:
        resp.content_type = "text/plain; charset=UTF-8"
        resp.data = f"{status} {title}\n\n{message}\n".encode()


def answer_service_error(req: falcon.Request, resp: falcon.Response, problem: ServiceError, _params: object) -> None:
    """Answer with a domain error. A client's mistake is one line in the access log, nothing more."""
    status = status_of(problem)
    message = f"{problem.message} ({problem.hint})" if problem.hint else problem.message
    answer(req, resp, status, message)
    if isinstance(problem, errors.MethodNotAllowed):
        resp.set_header("Allow", ", ".join(problem.allowed))
    if isinstance(problem, errors.RangeNotSatisfiable) and problem.size is not None:
        resp.set_header("Content-Range", f"bytes */{problem.size}")
    if status == 503:
        resp.set_header("Retry-After", str(problem.retry_after) if isinstance(problem, NoSlot) else "1")
    context = getattr(req.context, "service", None)
    if context is not None:
        context.problem = message if problem.detail is None else f"{message} [{problem.detail}]"
    if status == 500:
        log.error("%s %s: %s %s", req.method, req.path, problem.message, problem.detail or "")


def answer_http_error(req: falcon.Request, resp: falcon.Response, problem: falcon.HTTPError, _params: object) -> None:
    """Answer with an error of Falcon's own: unknown path or method, a malformed request."""
    status = problem.status_code
    for name, value in dict(problem.headers or {}).items():
        if name.lower() == "allow":  # Falcon answers OPTIONS by itself, the API does not
            value = ", ".join(method for method in value.split(", ") if method != "OPTIONS")
        resp.set_header(name, value)
    if status == 404:
        text = "The resource could not be found."
    elif status == 405:
        text = f"This path answers {resp.get_header('Allow')} only."
    else:
        text = problem.description or problem.title or title_of(status)
    answer(req, resp, status, text)
    context = getattr(req.context, "service", None)
    if context is not None:
        context.problem = text


def answer_unexpected(req: falcon.Request, resp: falcon.Response, problem: Exception, _params: object) -> None:
    """Answer a fault of ours: the client learns that, the log learns everything."""
    log.exception("%s %s failed", req.method, req.path, exc_info=problem)
    answer(req, resp, 500, "The server has either erred or is incapable of performing the requested operation.")


def _preferred(accept: str) -> str | None:
    # Clients that send none, or an empty one (openstacksdk and what stands on it), read JSON. ``*/*`` stays HTML: who
    # sends that (glanceclient, Nova, Cinder) cannot read an error in JSON.
    if not accept.strip():
        return "application/json"
    try:
        return mediatypes.best_match(["text/html", "application/json"], accept) or None
    except (ValueError, falcon.HTTPError):
        return None


_HTML = """<html>
 <head>
  <title>{title}</title>
 </head>
 <body>
  <h1>{title}</h1>
  {text}<br /><br />
 </body>
</html>
"""
