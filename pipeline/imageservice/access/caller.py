"""Describe who makes a request, as far as the service cares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# What a role brings with it (Keystone sends the whole set; the embedded identity fills it in).
_IMPLIED = {"admin": ("member",), "member": ("reader",)}


def with_implied(roles: Iterable[str]) -> frozenset[str]:
    """Return ``roles`` in lower case, and those they imply."""
    found: set[str] = set()
    waiting = [role.strip().lower() for role in roles]
    while waiting:
        role = waiting.pop()
        if role and role not in found:
            found.add(role)
            waiting.extend(_IMPLIED.get(role, ()))
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Caller:
    """One authenticated caller.

    ``project`` is the project the token is for; a token for a whole system or domain has none and names its
    ``system_scope`` or ``domain`` instead. ``service_roles`` are those of a service that calls on the user's behalf.
    ``read_only`` marks a caller without a token, where the operator lets those in. ``catalog`` is the identity
    service's list of endpoints, ``token`` what other services of the cloud are called with.
    """

    project: str | None
    user: str | None = None
    roles: frozenset[str] = frozenset()
    service_roles: frozenset[str] = frozenset()
    system_scope: str | None = None
    domain: str | None = None
    user_domain: str | None = None
    project_domain: str | None = None
    read_only: bool = False
    is_admin: bool = False
    token: str | None = field(default=None, repr=False)
    catalog: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    @property
    def has_project(self) -> bool:
        """Whether the token is for a project: policies accept no other kind."""
        return self.system_scope is None and self.domain is None

    def endpoint(self, kind: str, interface: str, region: str | None = None) -> str | None:
        """Return the URL of the service of type ``kind`` in the catalog, which is as
        keystonemiddleware passes it on.
        """
        for service in self.catalog:
            for location in service.get("endpoints", ()) if service.get("type") == kind else ():
                url = location.get(f"{interface}URL")
                if url and (region is None or location.get("region") == region):
                    return str(url)
        return None

    @property
    def credentials(self) -> dict[str, Any]:
        """The caller as oslo.policy's rules see it."""
        return {
            "user_id": self.user,
            "project_id": self.project,
            "tenant": self.project,
            # A rule "role:service" means the calling service too, not only the user it calls for.
            "roles": sorted(self.roles | (self.service_roles & {"service"})),
            "service_roles": sorted(self.service_roles),
            "system_scope": self.system_scope,
            "domain_id": self.domain,
            "user_domain_id": self.user_domain,
            "project_domain_id": self.project_domain,
            "is_admin": self.is_admin,
            "is_admin_project": True,
            "read_only": self.read_only,
        }


# Whoever calls without a token, where the operator lets those in.
ANYBODY = Caller(project=None, roles=frozenset({"reader", "member"}), read_only=True)
