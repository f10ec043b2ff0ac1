"""Make the application: every resource at its path."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn, TypeAlias

import falcon

from pipeline.imageservice.api import schemas
from pipeline.imageservice.api.health import Health
from pipeline.imageservice.api.http import error_handlers
from pipeline.imageservice.api.images.actions import Action
from pipeline.imageservice.api.images.data import ImageFile, ImageStage
from pipeline.imageservice.api.images.imports import ImageImport, ImageTask, ImageTaskRetry
from pipeline.imageservice.api.images.locations import Locations
from pipeline.imageservice.api.images.members import Members, OneMember
from pipeline.imageservice.api.images.records import Images, OneImage
from pipeline.imageservice.api.images.tags import Tag
from pipeline.imageservice.api.info import ImportInfo, UsageInfo
from pipeline.imageservice.api.metadefs.routes import routes as metadef_routes
from pipeline.imageservice.api.metrics import Metrics, MetricsPage
from pipeline.imageservice.api.middleware import Middleware
from pipeline.imageservice.api.openapi.resource import OpenApi
from pipeline.imageservice.api.resource import Resource
from pipeline.imageservice.api.stores import StoredImage, StoresDetail, StoresInfo
from pipeline.imageservice.api.tasks import ImageTasks, OneTask, Tasks
from pipeline.imageservice.api.v1 import images as v1_images
from pipeline.imageservice.api.v1 import members as v1_members
from pipeline.imageservice.api.versions import Versions
from pipeline.imageservice.errors import NotFound, ServiceError
from pipeline.imageservice.lifecycle.records import activation
from pipeline.imageservice.service import Service

App: TypeAlias = "falcon.App[falcon.Request, falcon.Response]"


def create_app(service: Service, *, metrics_folder: Path | None = None) -> App:
    """Return the WSGI application for ``service``. The database must be ready (``catalog.migrate.prepare``).

    ``metrics_folder``: where all processes of the service count; it must be empty when the first of them starts.
    """
    metrics = Metrics(metrics_folder) if service.settings.api.metrics else None
    app = falcon.App(middleware=[Middleware(service, metrics)])
    app.add_error_handler(Exception, error_handlers.answer_unexpected)
    app.add_error_handler(falcon.HTTPError, error_handlers.answer_http_error)
    app.add_error_handler(ServiceError, error_handlers.answer_service_error)
    for path, resource in routes(service).items():
        app.add_route(path, resource)
    if service.settings.api.version_1:
        for path, resource in _first_version(service).items():
            app.add_route(path, resource)
    app.add_route("/healthcheck", Health(service))
    if metrics is not None:
        app.add_route("/metrics", MetricsPage(service, metrics))
    app.add_sink(_nothing_here, "/")
    return app


def routes(service: Service) -> dict[str, Resource]:
    """Return every path and what answers it."""
    return {
        "/": Versions(service, 300),
        "/versions": Versions(service, 200),
        "/openapi.json": OpenApi(service),
        "/v2": Versions(service, 200),
        "/v2/": Versions(service, 200),
        "/v2/images": Images(service),
        "/v2/images/{image_id}": OneImage(service),
        "/v2/images/{image_id}/actions/deactivate": Action(service, activation.deactivate),
        "/v2/images/{image_id}/actions/reactivate": Action(service, activation.reactivate),
        "/v2/images/{image_id}/file": ImageFile(service),
        "/v2/images/{image_id}/import": ImageImport(service),
        "/v2/images/{image_id}/locations": Locations(service),
        "/v2/images/{image_id}/members": Members(service),
        "/v2/images/{image_id}/members/{member_id}": OneMember(service),
        "/v2/images/{image_id}/stage": ImageStage(service),
        "/v2/images/{image_id}/tags/{tag}": Tag(service),
        "/v2/images/{image_id}/tasks": ImageTasks(service),
        "/v2/images/{image_id}/tasks/{task_id}": ImageTask(service),
        "/v2/images/{image_id}/tasks/{task_id}/retry": ImageTaskRetry(service),
        "/v2/info/import": ImportInfo(service),
        "/v2/info/stores": StoresInfo(service),
        "/v2/info/stores/detail": StoresDetail(service),
        "/v2/info/usage": UsageInfo(service),
        "/v2/stores/{store_id}/{image_id}": StoredImage(service),
        "/v2/tasks": Tasks(service),
        "/v2/tasks/{task_id}": OneTask(service),
        **metadef_routes(service),
        **schemas.resources(service),
    }


def _first_version(service: Service) -> dict[str, Resource]:
    return {
        "/v1/images": v1_images.V1NewImages(service, detail=False),
        "/v1/images/detail": v1_images.V1Images(service, detail=True),
        "/v1/images/{image_id}": v1_images.V1Image(service),
        "/v1/images/{image_id}/members": v1_members.V1Members(service),
        "/v1/images/{image_id}/members/{member_id}": v1_members.V1Member(service),
        "/v1/shared-images/{project}": v1_members.V1SharedImages(service),
    }


def _nothing_here(req: falcon.Request, resp: falcon.Response, **parts: str) -> NoReturn:
    raise NotFound("The resource could not be found.")
