"""Describe what is changed inside the installed system before it becomes a product: customisation and sysprep."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline.recipes.model.fields import (
    Content,
    FileMode,
    Flag,
    GuestPath,
    Model,
    PackageName,
    Text,
    UserName,
    Word,
    matching,
)
from pipeline.recipes.model.source_file import SourceFile

_KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp")


def _public_key(value: str) -> str:
    words = value.split()
    if "PRIVATE KEY" in value:
        raise ValueError("this is a private key; give the public one (the file that ends in .pub)")
    if len(words) < 2 or not words[0].startswith(_KEY_TYPES):
        raise ValueError("a public SSH key starts with its type: ssh-ed25519 AAAA… comment")
    return value


SshKey = Annotated[Text, AfterValidator(_public_key)]
HostName = Annotated[Text, *matching(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", "a host name")]
TimeZone = Annotated[Text, *matching(r"[A-Za-z0-9][A-Za-z0-9+_-]*(/[A-Za-z0-9+_-]+){0,2}", "a time zone's name")]


class User(Model):
    """An account in the guest. Its password is locked: log in by key."""

    name: UserName
    """The account's name."""
    full_name: Text = ""
    """The person or purpose behind the account."""
    groups: tuple[UserName, ...] = ()
    """Further groups; they must exist in the guest."""
    shell: GuestPath | None = None
    """The login shell; without it the guest's default."""
    sudo: Flag = False
    """Whether the account may become root without a password."""
    ssh_keys: tuple[SshKey, ...] = ()
    """Public SSH keys that may log in."""


class GuestFile(Model):
    """A file to put into the guest: its content here, or copied from the recipe's folder."""

    path: GuestPath
    """Where the file goes in the guest."""
    content: Content | None = None
    """What the file says."""
    source: SourceFile | None = None
    """The file to copy, relative to the recipe's folder."""
    mode: FileMode = "0644"
    """Its permissions, octal, in quotes."""
    owner: UserName = "root"
    """The owning account in the guest."""
    group: UserName = "root"
    """The owning group in the guest."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.content is None) == (self.source is None):
            raise ValueError("give either content or source")
        return self


class Datasource(StrEnum):
    """Where cloud-init looks for an instance's metadata, by its own names."""

    NOCLOUD = "NoCloud"
    CONFIG_DRIVE = "ConfigDrive"
    OPENSTACK = "OpenStack"
    EC2 = "Ec2"
    NONE = "None"


class CloudInit(Model):
    """Settings of the guest's cloud-init, written as a file of their own below ``/etc/cloud/cloud.cfg.d``."""

    datasources: Annotated[tuple[Datasource, ...], Field(max_length=8)] = ()
    """Where to look for metadata, in this order; without any, cloud-init's own list."""
    grow_root: Flag = True
    """Whether the root partition and its file system fill the disk at the first start."""


class Customize(Model):
    """Changes made offline, in one launch of the appliance, in the order of these fields."""

    hostname: HostName | None = None
    """The host's name until a datasource sets another."""
    timezone: TimeZone | None = None
    """The time zone by its name in the tz database, such as ``UTC`` or ``Europe/Paris``."""
    update: Flag = False
    """Whether all installed packages are updated first."""
    packages: tuple[PackageName, ...] = ()
    """Packages to install from the guest's repositories."""
    remove_packages: tuple[PackageName, ...] = ()
    """Packages to remove."""
    users: tuple[User, ...] = ()
    """Accounts to make, or to change where they exist."""
    ssh_keys: tuple[SshKey, ...] = ()
    """Public SSH keys for the administrator's account (``os.admin_user``)."""
    files: tuple[GuestFile, ...] = ()
    """Files to put into the guest."""
    cloud_init: CloudInit | None = None
    """Settings of cloud-init, which must be in the guest."""
    enable_services: tuple[Word, ...] = ()
    """Services to start at boot."""
    disable_services: tuple[Word, ...] = ()
    """Services not to start at boot."""
    commands: tuple[Content, ...] = ()
    """Shell scripts run in the guest's root, each with ``set -eu``; the first that fails ends the build. What
    they leave running is ended."""


class SysprepOperation(StrEnum):
    """What is removed so that every guest started from the image is its own; named as virt-sysprep(1) names it.

    That program has no ``cloud-init``, ``random-seed`` and ``storage-identity`` (iSCSI, NVMe and host identifiers).
    """

    ABRT_DATA = "abrt-data"
    BACKUP_FILES = "backup-files"
    BASH_HISTORY = "bash-history"
    BLKID_TAB = "blkid-tab"
    CLOUD_INIT = "cloud-init"
    CRASH_DATA = "crash-data"
    CRON_SPOOL = "cron-spool"
    DHCP_CLIENT_STATE = "dhcp-client-state"
    DHCP_SERVER_STATE = "dhcp-server-state"
    DOVECOT_DATA = "dovecot-data"
    IPA_CLIENT = "ipa-client"
    KERBEROS_HOSTKEYTAB = "kerberos-hostkeytab"
    LOGFILES = "logfiles"
    LVM_UUIDS = "lvm-uuids"
    MACHINE_ID = "machine-id"
    MAIL_SPOOL = "mail-spool"
    NET_HOSTNAME = "net-hostname"
    NET_HWADDR = "net-hwaddr"
    NET_NMCONN = "net-nmconn"
    PACCT_LOG = "pacct-log"
    PACKAGE_MANAGER_CACHE = "package-manager-cache"
    PAM_DATA = "pam-data"
    PASSWD_BACKUPS = "passwd-backups"  # noqa: S105  (an operation, not a password)
    PUPPET_DATA_LOG = "puppet-data-log"
    RANDOM_SEED = "random-seed"
    RH_SUBSCRIPTION_MANAGER = "rh-subscription-manager"
    RHN_SYSTEMID = "rhn-systemid"
    RPM_DB = "rpm-db"
    SAMBA_DB_LOG = "samba-db-log"
    SMOLT_UUID = "smolt-uuid"
    SSH_HOSTKEYS = "ssh-hostkeys"
    SSH_USERDIR = "ssh-userdir"
    SSSD_DB_LOG = "sssd-db-log"
    STORAGE_IDENTITY = "storage-identity"
    TMP_FILES = "tmp-files"
    UDEV_PERSISTENT_NET = "udev-persistent-net"
    UTMP = "utmp"
    YUM_UUID = "yum-uuid"


class Sysprep(Model):
    """Removal of everything that identifies the build: host keys, machine id, logs, leases and the like."""

    enabled: Flag = True
    """Whether anything is removed at all."""
    skip: tuple[SysprepOperation, ...] = ()
    """Operations to leave out; everything else in the list is done."""
    scrub: Flag = True
    """Whether free space is zeroed, so that deleted bytes do not travel with the image; fails where it cannot be."""
