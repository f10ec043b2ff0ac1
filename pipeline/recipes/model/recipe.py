"""Describe a recipe: everything that is asked for, checked and frozen.

These models are the one description of what a recipe can say: the loader validates with them, the JSON Schema for
editors and the reference in the documentation are made from them, and the steps read their options from them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from pipeline.image import properties
from pipeline.recipes.model.fields import Bytes, Model, Name, Text, UserName, Word, matching, raise_at
from pipeline.recipes.model.guest import Customize, Sysprep
from pipeline.recipes.model.install import Install
from pipeline.recipes.model.kickstart import KickstartInstall
from pipeline.recipes.model.product import BootTest, Product, ProductFormat, Publish, Signing
from pipeline.recipes.model.scan import Scan

SAID_ELSEWHERE = {"architecture", "hw_architecture", "os_type", "os_distro", "os_version", "os_admin_user"}


class Architecture(StrEnum):
    """The processor the image is for, named as the ``architecture`` property names it."""

    X86_64 = "x86_64"


class OsType(StrEnum):
    """The kind of system, named as ``os_type`` names it."""

    LINUX = "linux"
    WINDOWS = "windows"


class Os(Model):
    """The operating system inside."""

    type: OsType
    """The kind of system."""
    distro: Word
    """The distribution in lower case, such as ``debian``; published as ``os_distro``."""
    version: Word
    """Its version, in quotes; published as ``os_version``."""
    admin_user: UserName | None = None
    """The account that gets the administrator's keys; published as ``os_admin_user``."""

    @property
    def properties(self) -> dict[str, str]:
        """The image properties that say this."""
        found = {"os_type": str(self.type), "os_distro": self.distro, "os_version": self.version}
        return {**found, "os_admin_user": self.admin_user} if self.admin_user else found

    @field_validator("distro", "version")
    @classmethod
    def _in_the_vocabulary(cls, value: str, info: ValidationInfo) -> str:
        for problem in properties.problems({f"os_{info.field_name}": value}):
            raise ValueError(problem.message)
        return value


RootDevice = Annotated[
    Text, *matching(r"/dev/\S+|btrfsvol:/dev/.+", "a device, such as /dev/sda2, or btrfsvol:/dev/sda2/SUBVOLUME")
]


class Disk(Model):
    """The disk that is installed on."""

    size: Annotated[Bytes, Field(ge=1 << 20, le=1 << 44, multiple_of=512)]
    """The disk's virtual size; guests may have larger ones, never smaller."""
    root: RootDevice | None = None
    """Where the root of the system is, if there are several on the disk: ``/dev/sda2``, ``/dev/GROUP/VOLUME`` or
    ``btrfsvol:/dev/sda2/SUBVOLUME``. The build lists them where it cannot tell."""


class Recipe(Model):
    """One image, from installation to publication."""

    name: Name
    """The image's name here and, unless ``publish.name`` says otherwise, in the cloud; the file's name by default."""
    summary: Text = ""
    """What the image is, in one line."""
    architecture: Architecture = Architecture.X86_64
    """The processor the image is for."""
    os: Os
    """The operating system inside."""
    disk: Disk
    """The disk that is installed on."""
    install: Install
    """How the system gets onto the disk."""
    customize: Customize = Customize()
    """What is changed in the installed system."""
    sysprep: Sysprep = Sysprep()
    """What is removed from it afterwards."""
    products: Annotated[tuple[Product, ...], Field(min_length=1, max_length=16)]
    """The files to make, one of a format."""
    boot_test: BootTest = BootTest()
    """The proof that the products boot."""
    properties: Annotated[dict[str, Text], Field(default_factory=dict)]
    """Image properties (``hw_*`` and others): what the boot test's hardware is and what is published."""
    publish: Publish = Publish()
    """How the image appears in a cloud."""
    scan: Scan = Scan()
    """The search for secrets in the finished image."""
    signing: Signing = Signing()
    """The signature over the products."""

    @property
    def image_properties(self) -> dict[str, str]:
        """All properties of the published image that the recipe decides, those of ``os`` and ``architecture`` too."""
        return {**self.processor, **self.os.properties, **self.properties}

    @property
    def processor(self) -> dict[str, str]:
        """The processor by both names that clouds have for it: for people, and for Compute."""
        return {"architecture": str(self.architecture), "hw_architecture": str(self.architecture)}

    @property
    def image_name(self) -> str:
        """The name of the published image."""
        return self.publish.name or self.name

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that the recipe's steps are given, sorted."""
        if isinstance(self.install, KickstartInstall) and self.install.subscription:
            return tuple(sorted(self.install.subscription.secrets.values()))
        return ()

    @field_validator("products")
    @classmethod
    def _formats_differ(cls, products: tuple[Product, ...], info: ValidationInfo) -> tuple[Product, ...]:
        formats = [product.format for product in products]
        size = info.data["disk"].size if "disk" in info.data else 0
        for each in formats:
            if each.largest_disk is not None and size > each.largest_disk:
                gib = each.largest_disk >> 30
                raise ValueError(f"a {each} holds disks of {gib} GiB at most, disk.size is {size >> 30} GiB; take vhdx")
        if len(set(formats)) != len(formats):
            raise ValueError("each format can be made once only")
        if not any(product.is_whole_disk or product is ProductFormat.AMI for product in formats):
            raise ValueError("one product must be a disk that can be booted: qcow2, raw, …, or ami")
        parts = {ProductFormat.AKI, ProductFormat.ARI}
        if set(formats) & {*parts, ProductFormat.AMI} and not parts <= set(formats):
            raise ValueError("aki, ari and a disk belong together: the kernel, its ramdisk, and what they start")
        return products

    @field_validator("properties")
    @classmethod
    def _in_the_vocabulary(cls, given: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        problems = dict.fromkeys(SAID_ELSEWHERE & set(given), "this comes from 'os' and 'architecture'; say it there")
        derived = info.data["os"].properties if "os" in info.data else {}
        for problem in properties.problems({**derived, **given}):
            if problem.name not in derived:
                problems.setdefault(problem.name, problem.message)
        raise_at(problems, given)
        return given

    @field_validator("publish")
    @classmethod
    def _published_is_made(cls, publish: Publish, info: ValidationInfo) -> Publish:
        made = [product.format for product in info.data.get("products", ())]
        if publish.format is not None and made and publish.format not in made:
            raise ValueError(f"format: {publish.format} is not among the products ({', '.join(made)})")
        return publish
