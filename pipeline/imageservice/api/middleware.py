"""Handle every request before its resource sees it, and every answer after."""

from __future__ import annotations

import time
from functools import partial

import falcon
from falcon.constants import HTTP_METHODS

from pipeline.imageservice.api.context import RequestContext, new_request_id
from pipeline.imageservice.api.http import access_log
from pipeline.imageservice.api.http.client_address import ClientAddresses
from pipeline.imageservice.api.http.cors import Cors
from pipeline.imageservice.api.http.hosts import Hosts
from pipeline.imageservice.api.metadefs.names import routed
from pipeline.imageservice.api.metrics import Metrics
from pipeline.imageservice.api.versions import Prefixes, answer_versions
from pipeline.imageservice.data.slots.slots import SlotKind
from pipeline.imageservice.data.wsgi_environ import HOLD_SLOT
from pipeline.imageservice.errors import HeaderTooLong, Invalid, NotImplementedVerb
from pipeline.imageservice.service import Service


class Middleware:
    """Falcon middleware: request id, well-formed path, version prefix, identity."""

    def __init__(self, service: Service, metrics: Metrics | None = None) -> None:
        self._service = service
        self._metrics = metrics
        self._prefixes = Prefixes(service)
        self._cors = Cors(service.settings.api.cors_origins)
        self._hosts = Hosts(service.settings)
        self._addresses = ClientAddresses(service.settings.server.trusted_proxies)
        self._longest_id = service.settings.api.max_request_id

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Find out what is asked, and by whom. Each request is authenticated here, once."""
        try:
            sent = req.get_header("X-Openstack-Request-Id")
            req.context.service = RequestContext(new_request_id(sent, self._longest_id), self._service.slots)
        except HeaderTooLong:
            req.context.service = RequestContext(new_request_id(None, self._longest_id), self._service.slots)
            raise
        self._hosts.check(req)
        if req.method not in HTTP_METHODS or req.method in ("CONNECT", "TRACE"):
            raise NotImplementedVerb(f"The method {req.method[:32]} is not known")
        if self._cors.is_preflight(req):
            self._cors.answer_preflight(resp)
            resp.status = 204
            resp.complete = True
            return
        path = self._prefixes.resolve(_checked_path(req), req.get_header("Accept"))
        if path is None:
            answer_versions(self._service, req, resp, 300)
            resp.complete = True
            return
        req.path = routed(req.env, path)
        if path.startswith(("/v2/", "/v1/")) and path != "/v2/":
            self._identify(req)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _req_succeeded: bool
    ) -> None:
        """Name the request in its answer; log and count it."""
        context: RequestContext | None = getattr(req.context, "service", None)
        if resp.status_code == 401 and self._service.challenge:
            resp.set_header("WWW-Authenticate", self._service.challenge)
        if context is None:
            return
        context.held.close()
        resp.set_header("x-openstack-request-id", context.request_id)
        self._cors.mark(req, resp)
        seconds = time.monotonic() - context.started
        client = self._addresses.of(req.env)
        access_log.write(req, resp, context, seconds, client)
        project = context.caller.project if context.caller is not None else None
        # Callers without a project are told apart by their addresses.
        req.env[HOLD_SLOT] = partial(context.slots.held, SlotKind.ANSWER, project or f"address {client.shown}")
        if self._metrics is not None:
            method = req.method if req.method in HTTP_METHODS else "other"
            self._metrics.count(method, req.uri_template or "other", resp.status_code, seconds)

    def _identify(self, req: falcon.Request) -> None:
        context: RequestContext = req.context.service
        context.caller = self._service.identify(req.env)


def _checked_path(req: falcon.Request) -> str:
    """Return the request's path as text. Raises ``Invalid`` when it is not UTF-8, or holds a NUL."""
    try:
        path = str(req.env.get("PATH_INFO", "")).encode("latin-1").decode() or "/"
    except UnicodeError:
        raise Invalid("The path is not valid UTF-8 once it is unquoted") from None
    if "\0" in path:
        raise Invalid("The path holds a NUL character")
    return path
