"""Read what a nightly run builds and where it publishes: ``recipes/nightly.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from pipeline.base import yaml_source
from pipeline.base.errors import PipelineError
from pipeline.recipes.loading.error_text import problems_in
from pipeline.recipes.loading.inheritance import Overlay, plain, tree
from pipeline.recipes.loading.load import failure, shown
from pipeline.recipes.model.fields import Count, Flag, Model, Name, Word
from pipeline.recipes.model.product import ProductFormat

Address = Annotated[Word, Field(pattern=r"^[^@\s<>,;]+@[^@\s<>,;]+$")]
Certificate = Annotated[Word, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]

ProjectId = Annotated[Word, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class Target(Model):
    """A cloud that gets the images."""

    cloud: Word
    """The cloud's name in ``clouds.yaml``."""
    stores: Annotated[tuple[Name, ...], Field(max_length=32)] = ()
    """The stores to put every image in, or ``all``; without any, those of the recipe, else the cloud's default."""
    format: ProductFormat | None = None
    """The format this cloud gets; without it the recipe's, else RAW where Ceph keeps it and another elsewhere."""
    certificate: Certificate | None = None
    """The id that the signing certificate has in this cloud's key manager, if another than here."""
    owners: Annotated[tuple[ProjectId, ...], Field(max_length=32)] = ()
    """Former projects of ours on this cloud, by id: their images with our marks count as ours."""
    signed: Flag = True
    """Whether images carry their signature there; not every cloud has a key manager to check it with."""


class Email(Model):
    """A mail server that takes the summary."""

    to: Annotated[tuple[Address, ...], Field(min_length=1, max_length=64)]
    """Who gets it."""
    sender: Address
    """Whom it comes from."""
    host: Word = "localhost"
    """The mail server."""
    port: Annotated[Count, Field(ge=1, le=65535)] = 25
    """Its port."""
    tls: Literal["none", "starttls", "tls"] = "starttls"
    """How the connection is protected; ``none`` on this machine only."""
    user: Word | None = None
    """The name to log in with."""
    password_file: Word | None = None
    """The file that holds the password, readable by its owner only."""


class Webhook(Model):
    """An address that gets the summary as JSON."""

    url: Annotated[Word, Field(pattern=r"^https?://[^/@\s]+(/\S*)?$", max_length=2000)]
    """Where to POST it."""
    token_file: Word | None = None
    """The file that holds a token to send as ``Authorization: Bearer``, readable by its owner only."""


class Report(Model):
    """Who is told how the night went, besides the report's page."""

    when: Literal["always", "changed", "failed"] = "changed"
    """Every night, on nights that changed or failed, or only on those that failed."""
    email: Email | None = None
    """A mail with the summary."""
    webhook: Webhook | None = None
    """A request with the summary."""
    keep: Annotated[Count, Field(ge=1, le=10_000)] = 90
    """How many nights' reports are kept."""


class Nightly(Model):
    """The recipes of a nightly run and the clouds they go to."""

    recipes: Annotated[tuple[Word, ...], Field(min_length=1, max_length=256)]
    """The recipes to build, by name, in order of importance."""
    targets: Annotated[tuple[Target, ...], Field(min_length=1, max_length=32)]
    """The clouds to publish to."""
    delete_old: Flag = False
    """Whether a night without any failure deletes the images that retention no longer keeps."""
    report: Report = Report()
    """Who is told."""

    @model_validator(mode="after")
    def _each_cloud_once(self) -> Self:
        clouds = [target.cloud for target in self.targets]
        if len(set(clouds)) != len(clouds):
            raise ValueError("targets: each cloud is named once; give it several stores instead")
        return self

    @classmethod
    def load(cls, file: Path) -> Nightly:
        """Read ``file``. Raises ``PipelineError`` that lists every mistake with its line."""
        name = shown(file)
        overlay = Overlay()
        root = overlay.lay(None, tree(yaml_source.load(file, name=name)))
        if overlay.problems:
            raise failure(name, overlay.problems)
        try:
            return cls.model_validate(plain(root))
        except ValidationError as error:
            raise failure(name, list(problems_in(error, cls, root))) from None


def names(file: Path) -> list[str]:
    """Return the recipes of the nightly run. Raises ``PipelineError`` when there is no such file."""
    if not file.is_file():
        raise PipelineError(f"there is no {shown(file)}", hint="name the recipes to work on")
    return list(Nightly.load(file).recipes)
