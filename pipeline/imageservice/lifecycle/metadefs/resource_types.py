"""Say which types of resources a namespace is for, and list the types there are."""

from __future__ import annotations

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.metadefs import resource_types
from pipeline.imageservice.errors import NotFound
from pipeline.imageservice.lifecycle.metadefs import room
from pipeline.imageservice.lifecycle.metadefs.binding import note_writer
from pipeline.imageservice.lifecycle.metadefs.visibility import find_namespace, refuse_if_protected
from pipeline.imageservice.model.metadefs import Association, MetadefNamespace, ResourceType
from pipeline.imageservice.notifications import metadef_payloads as payloads
from pipeline.imageservice.service import Service


def list_types(service: Service, caller: Caller) -> list[ResourceType]:
    """List the types of resources that are known. Raises ``Forbidden``."""
    service.policy.require(caller, "list_metadef_resource_types")
    with service.database.read() as connection:
        return resource_types.all_types(connection)


def list_associations(service: Service, caller: Caller, name: str) -> list[Association]:
    """List what a namespace is for. Raises ``NotFound``, ``Forbidden``."""
    with service.database.read() as connection:
        namespace = find_namespace(connection, service, caller, name)
        service.policy.require(caller, "list_metadef_resource_types", namespace.target)
        if not service.policy.may(caller, "get_metadef_resource_type", namespace.target):
            return []
        return list(resource_types.associations_of(connection, namespace.id))


def add_association(service: Service, caller: Caller, name: str, association: Association) -> Association:
    """Say that a namespace is for a type of resources. Raises ``NotFound``, ``Forbidden``, ``Duplicate``,
    ``LimitExceeded``.
    """

    def work(connection: Connection) -> tuple[MetadefNamespace, Association]:
        namespace = find_namespace(connection, service, caller, name, lock=True)
        service.policy.require(caller, "add_metadef_resource_type_association", namespace.target)
        room.check_associations(service, connection, namespace.id, [association])
        room.check_types(service, connection, caller, [association])
        note_writer(connection, caller, namespace)
        return namespace, resource_types.associate(connection, namespace.id, [association])[0]

    namespace, written = service.database.write(work)
    payload = payloads.association_payload(namespace, written)
    service.notifier.other("metadef_resource_type.create", payload, caller)
    return written


def remove_association(service: Service, caller: Caller, name: str, resource_type: str) -> None:
    """Take back that a namespace is for a type of resources. Raises ``NotFound``, ``Forbidden``."""

    def work(connection: Connection) -> tuple[MetadefNamespace, Association]:
        namespace = find_namespace(connection, service, caller, name, lock=True)
        service.policy.require(caller, "remove_metadef_resource_type_association", namespace.target)
        note_writer(connection, caller, namespace)
        known = resource_types.dissociate(connection, namespace.id, resource_type)
        if known is None:
            raise NotFound(f"Failed to find resource type {resource_type[:80]} to delete")
        refuse_if_protected(namespace)
        return namespace, known

    namespace, association = service.database.write(work)
    payload = payloads.deleted(payloads.association_payload(namespace, association))
    service.notifier.other("metadef_resource_type.delete", payload, caller)
