"""The application: every resource at its path."""

from __future__ import annotations

from typing import NoReturn, TypeAlias

import falcon

from pipeline.imageservice.api import problems
from pipeline.imageservice.api.front import Front
from pipeline.imageservice.api.images import Images, OneImage
from pipeline.imageservice.api.resource import Resource
from pipeline.imageservice.api.versions import Versions
from pipeline.imageservice.errors import NotFound, ServiceError
from pipeline.imageservice.service import Service

App: TypeAlias = "falcon.App[falcon.Request, falcon.Response]"


def create_app(service: Service) -> App:
    """The WSGI application for ``service``. The database must be ready (``catalog.migrate.prepare``)."""
    app = falcon.App(middleware=[Front(service)])
    app.add_error_handler(Exception, problems.answer_unexpected)
    app.add_error_handler(falcon.HTTPError, problems.answer_http_error)
    app.add_error_handler(ServiceError, problems.answer_service_error)
    for path, resource in routes(service).items():
        app.add_route(path, resource)
    app.add_sink(_nothing_here, "/")
    return app


def routes(service: Service) -> dict[str, Resource]:
    """Every path and what answers it."""
    return {
        "/": Versions(service, 300),
        "/versions": Versions(service, 200),
        "/v2": Versions(service, 200),
        "/v2/": Versions(service, 200),
        "/v2/images": Images(service),
        "/v2/images/{image_id}": OneImage(service),
    }


def _nothing_here(req: falcon.Request, resp: falcon.Response, **parts: str) -> NoReturn:
    raise NotFound("The resource could not be found.")
