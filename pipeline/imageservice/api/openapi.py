"""``GET /openapi.json``: the API described for machines: generators of clients, gateways, fuzzers.

The description is put together from the schemas that requests are checked against; a test holds it to the routes.
"""

from __future__ import annotations

import falcon

from pipeline.imageservice.api.openapi_components import components
from pipeline.imageservice.api.openapi_parts import Document
from pipeline.imageservice.api.openapi_paths import paths
from pipeline.imageservice.api.resource import Resource, answer_json, refuse_body
from pipeline.imageservice.service import Service


def describe(service: Service) -> Document:
    """The OpenAPI 3.0 document of ``service`` as it is configured."""
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
        """The document."""
        refuse_body(req)
        answer_json(resp, describe(self.service))
