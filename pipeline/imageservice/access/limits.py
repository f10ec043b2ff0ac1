"""Look up how much a project may have: in the settings, or with the identity service."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

from pipeline.imageservice.access.options import KeystoneIdentity, QuotaLimits, QuotaOptions
from pipeline.imageservice.catalog.quotas import QuotaResource
from pipeline.imageservice.errors import Unavailable


class ProjectLimits(Protocol):
    """Says what a project's limits are."""

    def of(self, project: str | None) -> Mapping[QuotaResource, int]:
        """Return the limits that hold for ``project`` (sizes in MiB); what is not named is not limited."""

    @property
    def on(self) -> bool:
        """Whether there are such limits at all; if not, the plain storage quota holds."""


class NoLimits:
    """Nothing is limited per project but, where set, the bytes stored."""

    on = False

    def of(self, project: str | None) -> Mapping[QuotaResource, int]:
        """Return nothing."""
        return {}


class SettingsLimits:
    """Limits from the settings: of the project, else the default ones."""

    on = True

    def __init__(self, options: QuotaOptions) -> None:
        self._default = _plain(options.default)
        self._projects = {project: {**self._default, **_plain(one)} for project, one in options.projects.items()}

    def of(self, project: str | None) -> Mapping[QuotaResource, int]:
        """See ``ProjectLimits``."""
        return self._projects.get(project or "", self._default)


class KeystoneLimits:
    """Unified limits: the project's own, else the registered ones; what is not registered is 0."""

    on = True

    def __init__(self, options: QuotaOptions, identity: KeystoneIdentity) -> None:
        self._options = options
        self._identity = identity
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Mapping[QuotaResource, int]]] = {}
        self._session: Any = None
        self._scope: tuple[str, str | None] | None = None

    def of(self, project: str | None) -> Mapping[QuotaResource, int]:
        """See ``ProjectLimits``. Raises ``Unavailable`` when the identity service does not answer."""
        key = project or ""
        moment, limits = self._known.get(key, (0.0, {}))
        if time.monotonic() - moment < self._options.cache_seconds and moment:
            return limits
        with self._lock:
            try:
                limits = self._ask(key)
            except Exception as error:
                self._session = None
                raise Unavailable("The limits cannot be read now; try again.", detail=str(error)) from error
        self._known[key] = (time.monotonic(), limits)
        return limits

    def _ask(self, project: str) -> Mapping[QuotaResource, int]:
        session = self._connected()
        service, region = self._scope or self._find_scope(session)
        narrow = {"service_id": service, **({"region_id": region} if region else {})}
        registered = _get(session, "/registered_limits", narrow)["registered_limits"]
        limits = {one["resource_name"]: one["default_limit"] for one in registered}
        own = _get(session, "/limits", {**narrow, "project_id": project})["limits"]
        limits |= {one["resource_name"]: one["resource_limit"] for one in own if one.get("project_id") == project}
        return {resource: int(limits.get(str(resource), 0)) for resource in QuotaResource}

    def _find_scope(self, session: Any) -> tuple[str, str | None]:
        name = self._options.keystone_service
        for key in ("type", "name"):
            found = _get(session, "/services", {key: name})["services"]
            if found:
                self._scope = (found[0]["id"], self._options.keystone_region)
                return self._scope
        raise Unavailable(f"The identity service knows no service {name!r}")

    def _connected(self) -> Any:
        if self._session is None:
            from pipeline.imageservice.access.keystone import service_session  # loads half of keystoneauth

            self._session = service_session(self._identity)
        return self._session


def make_limits(options: QuotaOptions, identity: object) -> ProjectLimits:
    """Return the limits the settings ask for."""
    if options.source == "keystone" and isinstance(identity, KeystoneIdentity):
        return KeystoneLimits(options, identity)
    return SettingsLimits(options) if options.source == "settings" else NoLimits()


def _plain(limits: QuotaLimits) -> dict[QuotaResource, int]:
    return {resource: value for resource in QuotaResource if (value := getattr(limits, str(resource))) is not None}


def _get(session: Any, path: str, query: Mapping[str, str]) -> Any:
    filters = {"service_type": "identity", "interface": "internal"}
    try:
        return session.get(path, params=query, endpoint_filter={**filters, "version": "3"}).json()
    except Exception:
        # Small clouds register a public endpoint only.
        filters["interface"] = "public"
        return session.get(path, params=query, endpoint_filter={**filters, "version": "3"}).json()
