"""The service's parts, joined: what every room that answers requests or runs jobs is given."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.base.home import Home
from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.access.keystone import KeystoneTokens
from pipeline.imageservice.access.limits import Limits, make_limits
from pipeline.imageservice.access.options import KeystoneIdentity, NoIdentity
from pipeline.imageservice.access.policy import Policy
from pipeline.imageservice.access.protections import Protections
from pipeline.imageservice.access.static import NoTokens, StaticTokens
from pipeline.imageservice.access.uri_filter import UriFilter
from pipeline.imageservice.api.image_schema import ImageSchema
from pipeline.imageservice.catalog.database import Database
from pipeline.imageservice.data.buffers import Buffers
from pipeline.imageservice.data.leasing import LeaseKeeper
from pipeline.imageservice.notifications.notifier import Notifier
from pipeline.imageservice.settings import Settings
from pipeline.imageservice.stores.drivers import AnyStoreOptions, Surroundings, make_store
from pipeline.imageservice.stores.health import StoreHealth
from pipeline.imageservice.stores.options import FileDirectory, FileOptions
from pipeline.imageservice.stores.registry import Stores
from pipeline.imageservice.stores.store import Store


class Identity(Protocol):
    """Says who makes a request. ``challenge`` is what a refused one is told in ``WWW-Authenticate``."""

    challenge: str

    def identify(self, environ: Any) -> Caller:
        """The caller. Raises ``NotAuthenticated`` or ``Unavailable``."""


@dataclass(frozen=True)
class Service:
    """One process's view of the service. Nothing is open before its first use, so it may be made before a fork."""

    settings: Settings
    database: Database
    stores: Stores
    health: StoreHealth
    identity: Identity
    policy: Policy
    protections: Protections
    limits: Limits
    image_schema: ImageSchema
    notifier: Notifier
    uri_filter: UriFilter
    buffers: Buffers
    leases: LeaseKeeper
    staging: Store

    @property
    def has_cache(self) -> bool:
        """Whether this node keeps a cache of image data."""
        return False

    @property
    def import_methods(self) -> tuple[str, ...]:
        """The ways of importing data that are open."""
        return tuple(self.settings.imports.methods)

    @property
    def node(self) -> str | None:
        """The name of this node, by which data staged here is found; ``None`` when every node reaches staged data."""
        options = self.settings.imports.staging
        return None if options.shared or options.store is not None else self.own_node

    @property
    def own_node(self) -> str:
        """The name of this node."""
        return self.settings.imports.staging.node or socket.gethostname()

    @property
    def hash_algorithm(self) -> str:
        """The digest every image gets beside md5."""
        return "sha512"

    @property
    def certificates(self) -> Path:
        """The folder of certificates that image signatures are checked with."""
        folder = self.settings.data.certificates
        return self.settings.inside(folder) if folder else Home.default().certificates

    @property
    def storage_quota(self) -> int:
        """Bytes a project may store, 0 for no limit: the plain quota, which holds where no unified limits do."""
        return 0 if self.limits.on else self.settings.quotas.user_storage_bytes

    @classmethod
    def from_settings(cls, settings: Settings) -> Service:
        """Make the parts the settings describe. Raises ``PipelineError`` when one of them cannot be."""
        options = settings.database
        stores = settings.all_stores
        policy = Policy(
            settings.inside(settings.policy.file) if settings.policy.file else None,
            tuple(settings.inside(folder) for folder in settings.policy.folders),
        )
        protected = settings.policy.property_protections
        database = Database(settings.database_url, connections=options.connections, patience=options.patience)
        buffers, uri_filter = Buffers(settings.data.memory), UriFilter(settings.fetch)
        surroundings = Surroundings(
            buffers,
            lambda uri: uri_filter.check(uri, what="location").addresses,
            share=settings.data.memory // 2,
        )
        configured = Stores.configured(stores, settings.default_store or stores[0].id, surroundings)
        return cls(
            settings=settings,
            database=database,
            stores=configured,
            health=StoreHealth(configured),
            identity=_identity(settings),
            policy=policy,
            protections=Protections(
                policy,
                settings.inside(protected) if protected else None,
                settings.policy.property_protection_format,
            ),
            limits=make_limits(settings.quotas, settings.identity),
            image_schema=ImageSchema(settings.api),
            notifier=Notifier(settings.notifications),
            uri_filter=uri_filter,
            buffers=buffers,
            leases=LeaseKeeper(database, settings.data.upload_lease),
            staging=make_store(_staging(settings), surroundings),
        )


def _staging(settings: Settings) -> AnyStoreOptions:
    """Where staged images lie: a store like any other, but one that users never see."""
    if settings.imports.staging.store is not None:
        return settings.imports.staging.store
    folder = FileDirectory(path=settings.inside(settings.data.staging))
    return FileOptions(id="staging", directories=[folder], file_mode=0o600, keep_cached=True)


def _identity(settings: Settings) -> Identity:
    options = settings.identity
    if isinstance(options, KeystoneIdentity):
        return KeystoneTokens(options)
    if isinstance(options, NoIdentity):
        return NoTokens(options)
    return StaticTokens(options, settings.folder)
