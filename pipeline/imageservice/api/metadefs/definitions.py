"""Answer ``/v2/metadefs/namespaces/{namespace}/objects``, ``…/properties`` and ``…/tags``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import falcon

from pipeline.imageservice.api.context import caller_of
from pipeline.imageservice.api.metadefs import query
from pipeline.imageservice.api.metadefs.documents import (
    SCHEMAS,
    new_object_document,
    object_document,
    properties_document,
    property_document,
    tag_document,
)
from pipeline.imageservice.api.metadefs.names import named
from pipeline.imageservice.api.metadefs.namespaces import NamespaceContents
from pipeline.imageservice.api.parameters import parameters_of
from pipeline.imageservice.api.resource import Resource, answer_json, read_json, refuse_body
from pipeline.imageservice.lifecycle.metadefs.definitions import (
    add_definition,
    change_definition,
    list_definitions,
    remove_definition,
    set_tags,
    show_definition,
)
from pipeline.imageservice.model.metadefs import Definition, DefinitionKind, DefinitionQuery, MetadefNamespace
from pipeline.imageservice.schema import metadef_reader
from pipeline.imageservice.service import Service

_TRUE = ("1", "t", "true", "on", "y", "yes")


class Objects(NamespaceContents):
    """All objects of a namespace: list, add, delete."""

    def __init__(self, service: Service) -> None:
        super().__init__(service, DefinitionKind.OBJECT)

    def on_get(self, req: falcon.Request, resp: falcon.Response, namespace: str) -> None:
        """Answer with the objects."""
        refuse_body(req)
        asked = query.read_definitions(parameters_of(req), self.kind)
        found, objects = list_definitions(self.service, caller_of(req), named(namespace), asked)
        documents = [object_document(found, one) for one in objects]
        # Without a slash at its beginning: that is how clients know it.
        answer_json(resp, {"objects": documents, "schema": f"{SCHEMAS}/objects".removeprefix("/")})

    def on_post(self, req: falcon.Request, resp: falcon.Response, namespace: str) -> None:
        """Add an object."""
        definition = metadef_reader.read_object(read_json(req, self.service.settings.api.max_body))
        answer_json(
            resp, new_object_document(*add_definition(self.service, caller_of(req), named(namespace), definition)), 201
        )


class Properties(NamespaceContents):
    """All properties of a namespace: list, add, delete."""

    def __init__(self, service: Service) -> None:
        super().__init__(service, DefinitionKind.PROPERTY)

    def on_get(self, req: falcon.Request, resp: falcon.Response, namespace: str) -> None:
        """Answer with the properties, by their names."""
        refuse_body(req)
        asked = DefinitionQuery(self.kind)
        _found, properties = list_definitions(self.service, caller_of(req), named(namespace), asked)
        answer_json(resp, {"properties": properties_document(properties)})

    def on_post(self, req: falcon.Request, resp: falcon.Response, namespace: str) -> None:
        """Add a property."""
        definition = metadef_reader.read_property(read_json(req, self.service.settings.api.max_body))
        _found, written = add_definition(self.service, caller_of(req), named(namespace), definition)
        answer_json(resp, property_document(written), 201)


class Tags(NamespaceContents):
    """All tags of a namespace: list, set or append, delete."""

    def __init__(self, service: Service) -> None:
        super().__init__(service, DefinitionKind.TAG)

    def on_get(self, req: falcon.Request, resp: falcon.Response, namespace: str) -> None:
        """Answer with the tags."""
        refuse_body(req)
        asked = query.read_definitions(parameters_of(req), self.kind)
        _found, tags = list_definitions(self.service, caller_of(req), named(namespace), asked)
        answer_json(resp, {"tags": [{"name": tag.name} for tag in tags]})

    def on_post(self, req: falcon.Request, resp: falcon.Response, namespace: str) -> None:
        """Put these tags in the place of all others, or next to them."""
        tags = metadef_reader.read_tags(read_json(req, self.service.settings.api.max_body))
        append = (req.get_header("X-Openstack-Append") or "").strip().lower() in _TRUE
        written = set_tags(self.service, caller_of(req), named(namespace), tags, append=append)
        answer_json(resp, {"tags": [{"name": tag.name} for tag in written]}, 201)


class _OneDefinition(Resource):
    """One definition of a namespace: show, change, delete."""

    kind: ClassVar[DefinitionKind]

    def _show(self, req: falcon.Request, namespace: str, name: str) -> tuple[MetadefNamespace, Definition]:
        refuse_body(req)
        resource_type = parameters_of(req).one("resource_type") if self.kind is DefinitionKind.PROPERTY else None
        return show_definition(
            self.service, caller_of(req), named(namespace), self.kind, named(name), resource_type or None
        )

    def _change(
        self, req: falcon.Request, namespace: str, name: str, read: Callable[[Any], Definition]
    ) -> tuple[MetadefNamespace, Definition]:
        after = read(read_json(req, self.service.settings.api.max_body))
        return change_definition(self.service, caller_of(req), named(namespace), named(name), after)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, namespace: str, name: str) -> None:
        """Delete it."""
        refuse_body(req)
        remove_definition(self.service, caller_of(req), named(namespace), self.kind, named(name))
        resp.status = 204


class OneObject(_OneDefinition):
    """One object of a namespace."""

    kind = DefinitionKind.OBJECT

    def on_get(self, req: falcon.Request, resp: falcon.Response, namespace: str, name: str) -> None:
        """Answer with the object."""
        answer_json(resp, object_document(*self._show(req, namespace, name)))

    def on_put(self, req: falcon.Request, resp: falcon.Response, namespace: str, name: str) -> None:
        """Another object in its place, under its name or a new one."""
        answer_json(resp, object_document(*self._change(req, namespace, name, metadef_reader.read_object)))


class OneProperty(_OneDefinition):
    """One property of a namespace."""

    kind = DefinitionKind.PROPERTY

    def on_get(self, req: falcon.Request, resp: falcon.Response, namespace: str, name: str) -> None:
        """Answer with the property; called with its prefix where a type of resource is named."""
        answer_json(resp, property_document(self._show(req, namespace, name)[1]))

    def on_put(self, req: falcon.Request, resp: falcon.Response, namespace: str, name: str) -> None:
        """Another property in its place, under its name or a new one."""
        answer_json(resp, property_document(self._change(req, namespace, name, metadef_reader.read_property)[1]))


class OneTag(_OneDefinition):
    """One tag of a namespace."""

    kind = DefinitionKind.TAG

    def on_get(self, req: falcon.Request, resp: falcon.Response, namespace: str, name: str) -> None:
        """Answer with the tag."""
        answer_json(resp, tag_document(self._show(req, namespace, name)[1]))

    def on_post(self, req: falcon.Request, resp: falcon.Response, namespace: str, name: str) -> None:
        """Add a tag."""
        refuse_body(req)
        tag = metadef_reader.named_tag(named(name))
        _found, written = add_definition(self.service, caller_of(req), named(namespace), tag)
        answer_json(resp, tag_document(written), 201)

    def on_put(self, req: falcon.Request, resp: falcon.Response, namespace: str, name: str) -> None:
        """Rename the tag."""
        answer_json(resp, tag_document(self._change(req, namespace, name, metadef_reader.read_tag)[1]))
