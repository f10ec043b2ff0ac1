"""Answer the versions document, and strip the prefixes that lead to the API.

Clients gate what they use on exact version ids, so the list follows what is configured (contract: versions document).
"""

from __future__ import annotations

import falcon

from pipeline.imageservice.api.http.error_handlers import title_of
from pipeline.imageservice.api.http.hosts import Hosts
from pipeline.imageservice.api.resource import Resource, answer_json, refuse_body
from pipeline.imageservice.service import Service

_ALWAYS = tuple(f"2.{minor}" for minor in range(7, -1, -1))
_SEVERAL_STORES = ("2.13", "2.12", "2.11", "2.10", "2.9", "2.8")
_OURS = ("/", "/versions", "/healthcheck", "/metrics", "/openapi.json")
_VERSION_TYPE = "application/vnd.openstack.images-"


def version_ids(service: Service) -> tuple[list[str], str]:
    """Return the minor versions on offer, as documents list them, and the current one among them."""
    stores = _SEVERAL_STORES if service.stores.several else ("2.9",)
    if service.has_cache:
        return ["2.18", "2.17", "2.16", "2.15", "2.14", *stores, *_ALWAYS], "2.18"
    return ["2.15", "2.17", *stores, *_ALWAYS], "2.17"


def document(service: Service, req: falcon.Request) -> dict[str, object]:
    """Return all versions with their links."""
    base = public_url(service, req)
    ids, current = version_ids(service)
    versions = [_entry(f"v{one}", "CURRENT" if one == current else "SUPPORTED", f"{base}/v2/") for one in ids]
    if service.settings.api.version_1:
        versions += [_entry(f"v1.{minor}", "DEPRECATED", f"{base}/v1/") for minor in (1, 0)]
    return {"versions": versions}


def public_url(service: Service, req: falcon.Request) -> str:
    """Return the URL clients reach the service by, without a slash at its end.

    Without a host when they call it by a name that is not its own.
    """
    configured = service.settings.api.public_endpoint
    if configured:
        return configured.rstrip("/")
    # Clients resolve a link without a host against the URL they asked, so a foreign name is repeated to nobody.
    server = f"{req.scheme}://{req.netloc}" if Hosts(service.settings).is_ours(req) else ""
    return f"{server}{req.root_path}".rstrip("/")


class Versions(Resource):
    """``GET /`` (300, as the protocol has it), ``GET /versions`` and ``GET /v2`` (200)."""

    def __init__(self, service: Service, status: int) -> None:
        super().__init__(service)
        self._status = status

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the versions document."""
        refuse_body(req)
        answer_versions(self.service, req, resp, self._status)


def answer_versions(service: Service, req: falcon.Request, resp: falcon.Response, status: int) -> None:
    """Answer with the versions document."""
    answer_json(resp, document(service, req))
    resp.status = f"{status} {title_of(status)}"


class Prefixes:
    """Which of the paths clients use stand for which of ours."""

    def __init__(self, service: Service) -> None:
        ids, _current = version_ids(service)
        self._aliases = frozenset(f"v{one}" for one in ids)
        self._has_v1 = service.settings.api.version_1

    def resolve(self, path: str, accept: str | None) -> str | None:
        """Return the path as our routes know it; ``None`` when its version is none that we speak."""
        first, slash, rest = path[1:].partition("/")
        if first == "v2" or path in _OURS:
            return path
        if first in self._aliases:
            return f"/v2{slash}{rest}"
        if first in ("v1", "v1.0", "v1.1") and self._has_v1:
            return f"/v1{slash}{rest}"
        asked = (accept or "").removeprefix(_VERSION_TYPE)
        # Clients that were given the bare URL as the API's ask for /images at the root.
        if asked in self._aliases or asked == "v2" or first in ("images", "schemas", "info", "metadefs", "tasks"):
            return f"/v2{path}"
        return None


def _entry(identifier: str, status: str, link: str) -> dict[str, object]:
    return {"id": identifier, "status": status, "links": [{"rel": "self", "href": link}]}
