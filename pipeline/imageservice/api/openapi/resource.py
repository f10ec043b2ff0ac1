"""Answer ``GET /openapi.json``: the API described for machines: generators of clients, gateways, fuzzers.

The description is put together from the schemas that requests are checked against; a test holds it to the routes.
"""

from __future__ import annotations

import falcon

from pipeline.imageservice.api.openapi.components import components
from pipeline.imageservice.api.openapi.parts import Document
from pipeline.imageservice.api.openapi.paths import paths
from pipeline.imageservice.api.resource import Resource, answer_json, refuse_body
from pipeline.imageservice.service import Service


def describe(service: Service) -> Document:
    """Return the OpenAPI 3.0 document of ``service`` as it is configured."""
    return {
        "openapi": "3.0.3",
        "info": {"title": "Image service", "version": "v2", "license": {"name": "Apache-2.0"}},
        "security": [{"token": []}],
        "paths": {path: dict(methods) for path, methods in paths().items()},
        "components": {
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
            "schemas": components(service),
        },
    }


class OpenApi(Resource):
    """The description itself; no token is needed for it."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the document."""
        refuse_body(req)
        answer_json(resp, describe(self.service))
