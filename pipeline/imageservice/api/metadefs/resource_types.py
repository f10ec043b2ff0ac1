"""Answer ``/v2/metadefs/resource_types`` and ``/v2/metadefs/namespaces/{namespace}/resource_types``."""

from __future__ import annotations

import falcon

from pipeline.imageservice.api.context import caller_of
from pipeline.imageservice.api.metadefs.documents import association_document, resource_type_document
from pipeline.imageservice.api.metadefs.names import named
from pipeline.imageservice.api.resource import SMALL_BODY, Resource, answer_json, read_json, refuse_body
from pipeline.imageservice.lifecycle.metadefs.resource_types import (
    add_association,
    list_associations,
    list_types,
    remove_association,
)
from pipeline.imageservice.schema.metadef_reader import read_association


class ResourceTypes(Resource):
    """All types of resources."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the types that are known."""
        refuse_body(req)
        found = list_types(self.service, caller_of(req))
        answer_json(resp, {"resource_types": [resource_type_document(one) for one in found]})


class Associations(Resource):
    """What a namespace is for: list and add."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, namespace: str) -> None:
        """Answer with the types the namespace is for."""
        refuse_body(req)
        found = list_associations(self.service, caller_of(req), named(namespace))
        answer_json(resp, {"resource_type_associations": [association_document(one) for one in found]})

    def on_post(self, req: falcon.Request, resp: falcon.Response, namespace: str) -> None:
        """One more type that the namespace is for."""
        association = read_association(read_json(req, SMALL_BODY))
        written = add_association(self.service, caller_of(req), named(namespace), association)
        answer_json(resp, association_document(written), 201)


class OneAssociation(Resource):
    """One type that a namespace is for."""

    def on_delete(self, req: falcon.Request, resp: falcon.Response, namespace: str, name: str) -> None:
        """Take the type from the namespace."""
        refuse_body(req)
        remove_association(self.service, caller_of(req), named(namespace), named(name))
        resp.status = 204
