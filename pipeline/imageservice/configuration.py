"""Name what the rooms of the service ask of its settings, which lie above them.

``settings.Settings`` is what fulfils it: there the options have their defaults, and are read from a file and checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pipeline.imageservice.access.options import (
    IdentityOptions,
    MetadefOptions,
    PolicyOptions,
    QuotaOptions,
)
from pipeline.imageservice.api.options import ApiOptions
from pipeline.imageservice.catalog.options import DatabaseOptions
from pipeline.imageservice.data.options import DataOptions
from pipeline.imageservice.fetching.options import FetchOptions
from pipeline.imageservice.importing.options import ImportOptions
from pipeline.imageservice.notifications.options import NotificationOptions
from pipeline.imageservice.server.options import ServerOptions
from pipeline.imageservice.stores.options import AnyStoreOptions


class Configuration(Protocol):
    """The settings in force: they never change while a process runs."""

    @property
    def folder(self) -> Path:
        """Where the service keeps its state."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""

    @property
    def log_level(self) -> str:
        """The least that is logged."""

    @property
    def database(self) -> DatabaseOptions:
        """Where the catalog is kept, and for how long."""

    @property
    def database_url(self) -> str:
        """The database's URL, with its password."""

    @property
    def all_stores(self) -> Sequence[AnyStoreOptions]:
        """The stores there are."""

    @property
    def default_store(self) -> str | None:
        """The store for images that name none; ``None``: the first."""

    @property
    def identity(self) -> IdentityOptions:
        """Who callers are."""

    @property
    def allow_anonymous(self) -> bool:
        """Whether callers without a token see and download public images."""

    @property
    def policy(self) -> PolicyOptions:
        """Who may do what."""

    @property
    def quotas(self) -> QuotaOptions:
        """How much each project may have."""

    @property
    def metadefs(self) -> MetadefOptions:
        """What metadata definitions do."""

    @property
    def api(self) -> ApiOptions:
        """How the API presents itself."""

    @property
    def data(self) -> DataOptions:
        """How image data is moved and judged."""

    @property
    def imports(self) -> ImportOptions:
        """How images are imported."""

    @property
    def server(self) -> ServerOptions:
        """The HTTP server."""

    @property
    def fetch(self) -> FetchOptions:
        """What users may have the service fetch."""

    @property
    def notifications(self) -> NotificationOptions:
        """Who is told what happened."""

    def inside(self, path: Path) -> Path:
        """Return ``path`` in the service's folder, unless it is absolute."""
