"""The service's parts, joined: what every room that answers requests or runs jobs is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.access.keystone import KeystoneTokens
from pipeline.imageservice.access.options import KeystoneIdentity, NoIdentity
from pipeline.imageservice.access.policy import Policy
from pipeline.imageservice.access.static import NoTokens, StaticTokens
from pipeline.imageservice.catalog.database import Database
from pipeline.imageservice.settings import Settings
from pipeline.imageservice.stores.registry import Stores


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
    identity: Identity
    policy: Policy

    @property
    def has_cache(self) -> bool:
        """Whether this node keeps a cache of image data."""
        return False

    @classmethod
    def from_settings(cls, settings: Settings) -> Service:
        """Make the parts the settings describe. Raises ``PipelineError`` when one of them cannot be."""
        options = settings.database
        stores = settings.all_stores
        policy = settings.policy
        return cls(
            settings=settings,
            database=Database(settings.database_url, connections=options.connections, patience=options.patience),
            stores=Stores.configured(stores, settings.default_store or stores[0].id),
            identity=_identity(settings),
            policy=Policy(
                settings.inside(policy.file) if policy.file else None,
                tuple(settings.inside(folder) for folder in policy.folders),
            ),
        )


def _identity(settings: Settings) -> Identity:
    options = settings.identity
    if isinstance(options, KeystoneIdentity):
        return KeystoneTokens(options)
    if isinstance(options, NoIdentity):
        return NoTokens(options)
    return StaticTokens(options, settings.folder)
