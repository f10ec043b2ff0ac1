"""Answer pages of other origins that call the API from a browser (the Fetch standard's CORS protocol)."""

from __future__ import annotations

from collections.abc import Sequence

import falcon

_METHODS = "GET, PUT, POST, DELETE, PATCH"
_EXPOSED = (
    "X-Image-Meta-Checksum, X-Auth-Token, X-Subject-Token, X-Service-Token, X-OpenStack-Request-ID, Location, "
    "Content-MD5, OpenStack-image-import-methods, OpenStack-image-store-ids"
)
_ALLOWED = (
    "Content-MD5, Content-Type, Range, X-Auth-Token, X-Image-Meta-Store, X-OpenStack-Image-Size, "
    "X-OpenStack-Request-ID, X-Service-Token"
)
_SECONDS = "3600"


class Cors:
    """Which origins may, and what their browsers are told."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origin.rstrip("/") for origin in origins)

    def is_preflight(self, req: falcon.Request) -> bool:
        """Return whether a browser asks what a page may do, before the page does it: that question carries no token."""
        asks = req.method == "OPTIONS" and bool(req.get_header("Access-Control-Request-Method"))
        return asks and self._may(req)

    def answer_preflight(self, resp: falcon.Response) -> None:
        """Say what a page may do."""
        resp.set_header("Access-Control-Allow-Methods", _METHODS)
        resp.set_header("Access-Control-Allow-Headers", _ALLOWED)
        resp.set_header("Access-Control-Max-Age", _SECONDS)

    def mark(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Let the page see the answer, when its origin is one of those that may."""
        if self._origins:
            resp.append_header("Vary", "Origin")
        if not self._may(req):
            return
        # The one origin, never the star: what is allowed follows from who asks.
        resp.set_header("Access-Control-Allow-Origin", str(req.get_header("Origin")))
        resp.set_header("Access-Control-Expose-Headers", _EXPOSED)

    def _may(self, req: falcon.Request) -> bool:
        origin = req.get_header("Origin")
        return origin is not None and ("*" in self._origins or origin in self._origins)
