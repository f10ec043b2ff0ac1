"""Describe unattended installations of Enterprise Linux from its media."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.recipes.model.download import Download, Url
from pipeline.recipes.model.fields import Bytes, Count, Flag, Model, Name, PackageName, Seconds, Text, Word, matching
from pipeline.recipes.model.source_file import SourceFile

_MIB = 1 << 20
SecretName = Annotated[Word, *matching(r"[a-z][a-z0-9-]{0,62}", "a secret's name: lower case letters, digits and -")]
RepositoryId = Annotated[Word, *matching(r"[A-Za-z0-9][A-Za-z0-9._:*-]{0,127}", "a repository's id")]


class InstallEngine(StrEnum):
    """What runs the installer. Both do the same with the same recipe."""

    VIRT_INSTALL = "virt-install"
    QEMU = "qemu"


class Connection(StrEnum):
    """The libvirt daemon that virt-install talks to."""

    SESSION = "session"
    SYSTEM = "system"


class Repository(Model):
    """A repository of packages in addition to the media, for what is not on them."""

    name: Name
    """What the installer calls it."""
    url: Url
    """The folder that holds its ``repodata``. It is asked before the installation starts."""
    gpg_key: Url | None = None
    """The key its packages are signed with. Without one, packages that are installed from it later are not checked."""
    keep: Flag = False
    """Whether the finished system has it, too; otherwise it is for the installation only."""


class Subscription(Model):
    """Red Hat's Content Delivery Network: the guest registers, takes its packages, and unregisters.

    Each field but the last two names a secret. The values reach the guest on a medium of their own: they are in no
    kickstart, log or image.
    """

    username: SecretName | None = None
    """The secret with the account's name."""
    password: SecretName | None = None
    """The secret with its password."""
    organization: SecretName | None = None
    """The secret with the organisation's id, for an activation key."""
    activation_key: SecretName | None = None
    """The secret with the activation key."""
    pool: SecretName | None = None
    """The secret with the pool's id to attach; without it, subscription-manager chooses one."""
    repositories: Annotated[tuple[RepositoryId, ...], Field(max_length=64)] = ()
    """The repositories to enable, such as ``rhel-7-server-rpms``."""

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        account = (self.username is not None, self.password is not None)
        key = (self.organization is not None, self.activation_key is not None)
        if (account, key) not in (((True, True), (False, False)), ((False, False), (True, True))):
            raise ValueError("give either username and password, or organization and activation_key")
        return self

    @property
    def secrets(self) -> dict[str, str]:
        """The names of all secrets that are needed, by what they are for."""
        kinds = ("username", "password", "organization", "activation_key", "pool")
        return {kind: name for kind in kinds if (name := getattr(self, kind)) is not None}


class KickstartInstall(Model):
    """Enterprise Linux from its installation media, unattended, by a kickstart file."""

    method: Literal["kickstart"]
    """The media's own installer, told everything by a kickstart file."""
    kickstart: SourceFile
    """The kickstart file, a Jinja2 template; see ``kickstarts/``."""
    download: Download | None = None
    """The installation media (an ISO file) on the network, where that is to be had."""
    file: SourceFile | None = None
    """The installation media as a local file. ``--source FILE`` sets this."""
    supplied: Text | None = None
    """What a person brings along with ``--source``, because it cannot be fetched, and where it is to be had."""
    repositories: Annotated[tuple[Repository, ...], Field(max_length=32)] = ()
    """Repositories for what the media lack, such as cloud-init."""
    subscription: Subscription | None = None
    """The way to packages that only subscribers get."""
    packages: Annotated[tuple[PackageName, ...], Field(max_length=256)] = ()
    """Further packages for the installer to lay down."""
    update: Flag = False
    """Whether all packages are brought up to date, from the repositories or the subscription."""
    engine: InstallEngine = InstallEngine.VIRT_INSTALL
    """What runs the installer: ``virt-install``, or ``qemu`` without libvirt. ``--engine`` sets this."""
    connection: Connection = Connection.SESSION
    """Whether virt-install starts a libvirt of its own, as an ordinary user, or uses the machine's (``system``)."""
    network: Annotated[Word, *matching(r"user|(?:network|bridge):[A-Za-z0-9._-]{1,64}", "a network")] = "user"
    """The guest's network: ``user`` (QEMU's own); ``network:NAME`` and ``bridge:NAME`` need ``connection: system``."""
    memory: Annotated[Bytes, Field(ge=256 * _MIB, le=1 << 40, validate_default=False)] = 2048 * _MIB
    """The installing guest's memory."""
    vcpus: Annotated[Count, Field(ge=1, le=64)] = 2
    """Its processors."""
    timeout: Annotated[Seconds, Field(ge=60, validate_default=False)] = 7200
    """How long the installation may take."""

    @model_validator(mode="after")
    def _some_origin(self) -> Self:
        if self.download is None and self.file is None and self.supplied is None:
            raise ValueError("give download, file or supplied")
        return self

    @model_validator(mode="after")
    def _network_fits(self) -> Self:
        on_system = self.engine is InstallEngine.VIRT_INSTALL and self.connection is Connection.SYSTEM
        if self.network != "user" and not on_system:
            raise ValueError("network: only virt-install with connection: system has other networks than 'user'")
        return self
