"""List every path under ``/v2/metadefs`` and what answers it."""

from __future__ import annotations

from pipeline.imageservice.api.metadefs import definitions, namespaces, resource_types
from pipeline.imageservice.api.metadefs.names import BASE
from pipeline.imageservice.api.resource import Resource
from pipeline.imageservice.service import Service

ONE = f"{BASE}/namespaces/{{namespace}}"


def routes(service: Service) -> dict[str, Resource]:
    """Return every path and what answers it."""
    return {
        f"{BASE}/resource_types": resource_types.ResourceTypes(service),
        f"{BASE}/namespaces": namespaces.Namespaces(service),
        ONE: namespaces.OneNamespace(service),
        f"{ONE}/objects": definitions.Objects(service),
        f"{ONE}/objects/{{name}}": definitions.OneObject(service),
        f"{ONE}/properties": definitions.Properties(service),
        f"{ONE}/properties/{{name}}": definitions.OneProperty(service),
        f"{ONE}/resource_types": resource_types.Associations(service),
        f"{ONE}/resource_types/{{name}}": resource_types.OneAssociation(service),
        f"{ONE}/tags": definitions.Tags(service),
        f"{ONE}/tags/{{name}}": definitions.OneTag(service),
    }
