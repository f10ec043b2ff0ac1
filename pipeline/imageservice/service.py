"""Join the service's parts: what every room that answers requests or runs jobs is given."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.base.home import Home
from pipeline.base.owner import Owner
from pipeline.imageservice.access.caller import ANYBODY, Caller
from pipeline.imageservice.access.keystone import KeystoneTokens
from pipeline.imageservice.access.limits import ProjectLimits, make_limits
from pipeline.imageservice.access.options import KeystoneIdentity, NoIdentity
from pipeline.imageservice.access.policy import AccessPolicy
from pipeline.imageservice.access.protections import Protections
from pipeline.imageservice.access.static import NoTokens, StaticTokens
from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.catalog.metadefs.judging import BindingDefinitions
from pipeline.imageservice.configuration import Configuration
from pipeline.imageservice.data.buffers import Buffers
from pipeline.imageservice.data.lease_keeper import LeaseKeeper
from pipeline.imageservice.data.slots.slots import SlotKind, SlotRules, Slots
from pipeline.imageservice.errors import NotAuthenticated
from pipeline.imageservice.fetching.ssrf_filter import SsrfFilter
from pipeline.imageservice.notifications.notifier import Notifier
from pipeline.imageservice.notifications.outbox import Outbox
from pipeline.imageservice.schema.image_schema import ImageSchema
from pipeline.imageservice.stores.base import DriverContext, Store
from pipeline.imageservice.stores.collection import Stores
from pipeline.imageservice.stores.file.options import FileDirectory, FileOptions
from pipeline.imageservice.stores.health import StoreHealth
from pipeline.imageservice.stores.options import AnyStoreOptions
from pipeline.imageservice.stores.registry import make_store


class IdentityProvider(Protocol):
    """Says who makes a request. ``challenge`` is what a refused one is told in ``WWW-Authenticate``."""

    challenge: str

    def identify(self, environ: Any) -> Caller:
        """Return the caller. Raises ``NotAuthenticated`` or ``Unavailable``."""


@dataclass(frozen=True)
class Service:
    """One process's view of the service. Nothing is open before its first use, so it may be made before a fork."""

    settings: Configuration
    database: Database
    stores: Stores
    health: StoreHealth
    identity: IdentityProvider
    policy: AccessPolicy
    protections: Protections
    limits: ProjectLimits
    image_schema: ImageSchema
    notifier: Notifier
    outbox: Outbox
    ssrf_filter: SsrfFilter
    buffers: Buffers
    leases: LeaseKeeper
    slots: Slots
    staging: Store
    definitions: BindingDefinitions

    def close(self) -> None:
        """Give back what this process has open for the service: threads, files, connections. The next use begins anew.

        Nothing may be under way.
        """
        self.slots.close()
        self.leases.close()
        self.database.close()

    def identify(self, environ: Any) -> Caller:
        """Return who makes a request, whose WSGI environment this is; marked when the rules call it an administrator.

        Raises ``NotAuthenticated`` or ``Unavailable``.
        """
        self.database.write_for(None)
        if self.settings.allow_anonymous and not environ.get("HTTP_X_AUTH_TOKEN"):
            return ANYBODY
        caller = self.policy.with_admin(self.identity.identify(environ))
        if caller.user is None and caller.project is None and not caller.roles:
            raise NotAuthenticated("The token is for nobody and nothing.")
        self.database.write_for(caller.project)
        return caller

    def check_database(self) -> None:
        """Raise ``Unavailable`` unless the database answers."""
        self.database.check()

    @property
    def challenge(self) -> str:
        """What a refused caller is told in ``WWW-Authenticate``; may be empty."""
        return self.identity.challenge

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
        """The digest every image gets besides md5."""
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
    def from_settings(cls, settings: Configuration) -> Service:
        """Make the parts the settings describe. Raises ``PipelineError`` when one of them cannot be."""
        options = settings.database
        stores = settings.all_stores
        policy = AccessPolicy(
            settings.inside(settings.policy.file) if settings.policy.file else None,
            tuple(settings.inside(folder) for folder in settings.policy.folders),
        )
        protected = settings.policy.property_protections
        database = Database(settings.database_url, connections=options.connections, lock_timeout=options.patience)
        buffers, ssrf_filter = Buffers(settings.data.memory), SsrfFilter(settings.fetch)
        context = DriverContext(
            buffers,
            lambda uri: ssrf_filter.check(uri, what="location"),
            share=settings.data.memory // 2,
        )
        notifier = Notifier(settings.notifications)
        configured = Stores.configured(stores, settings.default_store or stores[0].id, context)
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
            image_schema=ImageSchema(
                settings.api.disk_formats, settings.api.container_formats, settings.api.image_schema
            ),
            notifier=notifier,
            outbox=Outbox(database, notifier),
            ssrf_filter=ssrf_filter,
            buffers=buffers,
            leases=LeaseKeeper(database, settings.data.upload_lease),
            slots=Slots(slots_folder(settings), _slot_rules(settings)),
            staging=make_store(_staging(settings), context),
            definitions=BindingDefinitions(),
        )


def slots_folder(settings: Configuration) -> Path:
    """Return where the processes of this node share out slots: never the same for two machines."""
    return settings.folder / f"slots-{Owner.current().boot}"


def _slot_rules(settings: Configuration) -> SlotRules:
    options = settings.server
    return SlotRules(
        {SlotKind(name): count for name, count in options.slots.items()},
        rate=options.least_rate,
        seconds=options.least_rate_seconds,
        wait=options.slot_wait,
    )


def _staging(settings: Configuration) -> AnyStoreOptions:
    """Where staged images lie: a store like any other, but one that users never see."""
    if settings.imports.staging.store is not None:
        return settings.imports.staging.store
    folder = FileDirectory(path=settings.inside(settings.data.staging))
    return FileOptions(id="staging", directories=[folder], file_mode=0o600, keep_cached=True)


def _identity(settings: Configuration) -> IdentityProvider:
    options = settings.identity
    if isinstance(options, KeystoneIdentity):
        return KeystoneTokens(options)
    if isinstance(options, NoIdentity):
        return NoTokens(options)
    return StaticTokens(options, settings.folder)
