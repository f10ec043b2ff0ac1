"""Answer ``/v2/metadefs/namespaces``."""

from __future__ import annotations

from typing import Any

import falcon

from pipeline.imageservice.api.context import caller_of
from pipeline.imageservice.api.metadefs import query
from pipeline.imageservice.api.metadefs.documents import SCHEMAS, full_document, listed_document, namespace_document
from pipeline.imageservice.api.metadefs.names import BASE, link, named
from pipeline.imageservice.api.parameters import parameters_of
from pipeline.imageservice.api.resource import Resource, answer_json, read_json, refuse_body
from pipeline.imageservice.api.versions import public_url
from pipeline.imageservice.lifecycle.metadefs.namespaces import (
    change_namespace,
    clear_namespace,
    create_namespace,
    delete_namespace,
    list_namespaces,
    show_namespace,
)
from pipeline.imageservice.model.metadefs import DefinitionKind
from pipeline.imageservice.schema.metadef_reader import read_namespace
from pipeline.imageservice.service import Service


class Namespaces(Resource):
    """All namespaces: list and create."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of the namespaces that the caller sees."""
        refuse_body(req)
        caller, parameters = caller_of(req), parameters_of(req)
        asked = query.read_namespaces(parameters, caller, self.service.settings.api)
        page, has_more = list_namespaces(self.service, caller, asked, parameters.one("marker") or None)
        again, path = parameters.without("marker"), f"{BASE}/namespaces"
        document: dict[str, Any] = {"namespaces": [listed_document(view) for view in page], "first": again.link(path)}
        if page and has_more:
            document["next"] = again.link(path, marker=page[-1].namespace.namespace)
        document["schema"] = f"{SCHEMAS}/namespaces"
        answer_json(resp, document)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Add a namespace, with everything that is said to be in it."""
        fields, associations, contents = read_namespace(read_json(req, self.service.settings.api.max_body))
        view = create_namespace(self.service, caller_of(req), fields, associations, contents)
        answer_json(resp, full_document(view), 201)
        resp.set_header("Location", f"{public_url(self.service, req)}{link(view.namespace.namespace)}")


class OneNamespace(Resource):
    """One namespace: show, change, delete."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, namespace: str) -> None:
        """Answer with the namespace and everything in it."""
        refuse_body(req)
        resource_type = parameters_of(req).one("resource_type")
        view = show_namespace(self.service, caller_of(req), named(namespace))
        answer_json(resp, full_document(view, resource_type))

    def on_put(self, req: falcon.Request, resp: falcon.Response, namespace: str) -> None:
        """Other fields for the namespace; what it defines stays."""
        fields, _associations, _contents = read_namespace(read_json(req, self.service.settings.api.max_body))
        changed = change_namespace(self.service, caller_of(req), named(namespace), fields)
        answer_json(resp, namespace_document(changed))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, namespace: str) -> None:
        """Delete the namespace with everything in it."""
        refuse_body(req)
        delete_namespace(self.service, caller_of(req), named(namespace))
        resp.status = 204


class NamespaceContents(Resource):
    """All definitions of one kind in a namespace, which can be deleted at once."""

    def __init__(self, service: Service, kind: DefinitionKind) -> None:
        super().__init__(service)
        self.kind = kind

    def on_delete(self, req: falcon.Request, resp: falcon.Response, namespace: str) -> None:
        """Delete them all."""
        refuse_body(req)
        clear_namespace(self.service, caller_of(req), named(namespace), self.kind)
        resp.status = 204
