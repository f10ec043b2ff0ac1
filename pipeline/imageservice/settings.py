"""Load the service's settings: one YAML file, checked as a whole at start, every mistake named with its line.

Each room of the service describes its own options (``*/options.py``); this file puts them together. Without a file the
defaults make the embedded service: SQLite, two file stores and a token, all in the service's own folder.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.base import yaml_source
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.settings_path import FOLDER
from pipeline.base.yaml_source import YamlPath, YamlSource
from pipeline.imageservice.access.options import (
    IdentityOptions,
    MetadefOptions,
    NoIdentity,
    PolicyOptions,
    QuotaOptions,
    StaticIdentity,
)
from pipeline.imageservice.api.options import ApiOptions
from pipeline.imageservice.catalog.options import DatabaseOptions
from pipeline.imageservice.data.options import DataOptions
from pipeline.imageservice.fetching.options import FetchOptions
from pipeline.imageservice.importing.options import ImportOptions
from pipeline.imageservice.notifications.options import NotificationOptions
from pipeline.imageservice.server.options import ServerOptions
from pipeline.imageservice.stores.file.options import FileDirectory, FileOptions
from pipeline.imageservice.stores.options import AnyStoreOptions

FILE_NAME = "settings.yaml"


class Settings(BaseModel):
    """Everything that can be set. Paths that are not absolute lie in the service's folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path = Field(
        default_factory=lambda: Home.default().service, description="Where the service keeps its state."
    )
    listen: str = Field("127.0.0.1:9292", description="Address and port to listen on; `[::1]:9292` for IPv6.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info",
        description="The least that is logged. Requests are `info`. Libraries log nothing below that, since some write "
        "keys there; commands such as `./inv service.scrub` log from `warning` on unless it is set.",
    )
    database: DatabaseOptions = Field(default_factory=DatabaseOptions, description="Where the catalog is kept.")
    stores: list[AnyStoreOptions] = Field(
        default_factory=list, description="Where image data is kept; by default two folders beside the database."
    )
    default_store: str | None = Field(None, description="The store for images that name none; by default the first.")
    identity: IdentityOptions = Field(default_factory=StaticIdentity, description="Who callers are.")
    allow_anonymous: bool = Field(False, description="Let callers without a token see and download public images.")
    policy: PolicyOptions = Field(default_factory=PolicyOptions, description="Who may do what.")
    quotas: QuotaOptions = Field(default_factory=QuotaOptions, description="How much each project may have.")
    metadefs: MetadefOptions = Field(default_factory=MetadefOptions, description="What metadata definitions do.")
    api: ApiOptions = Field(default_factory=ApiOptions, description="How the API presents itself.")
    data: DataOptions = Field(default_factory=DataOptions, description="How image data is moved and judged.")
    imports: ImportOptions = Field(default_factory=ImportOptions, description="How images are imported.")
    server: ServerOptions = Field(default_factory=ServerOptions, description="The HTTP server.")
    fetch: FetchOptions = Field(default_factory=FetchOptions, description="What users may have the service fetch.")
    notifications: NotificationOptions = Field(
        default_factory=NotificationOptions, description="Who is told what happened."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        ids = [store.id for store in self.stores]
        twice = sorted({identifier for identifier in ids if ids.count(identifier) > 1})
        if twice:
            raise ValueError(f"stores: the id {twice[0]!r} is given twice")
        known = ids or [store.id for store in self.all_stores]
        if self.default_store is not None and self.default_store not in known:
            raise ValueError(f"default_store: there is no store {self.default_store!r}, only {', '.join(known)}")
        host = self.address[0]
        if isinstance(self.identity, NoIdentity) and not _is_loopback(host):
            raise ValueError(f"identity: kind none lets everybody in, so it may not listen on {host}, only on loopback")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def is_embedded(self) -> bool:
        """Whether the database is the service's own SQLite file, which it upgrades by itself."""
        return self.database.url is None

    @property
    def database_url(self) -> str:
        """The database's URL, with its password."""
        if self.database.url is not None:
            text = self.database.url.get_secret_value()
            name = text.removeprefix("sqlite:///")
            if name != text and name and not name.startswith(("/", ":")):
                return f"sqlite:///{self.folder / name}"
            return text
        return f"sqlite:///{self.folder / 'catalog.db'}"

    @property
    def all_stores(self) -> list[AnyStoreOptions]:
        """The configured stores, or the two of the embedded service."""
        return self.stores or [
            FileOptions(id="main", directories=[FileDirectory(path=self.folder / "stores" / "main")]),
            FileOptions(id="mirror", directories=[FileDirectory(path=self.folder / "stores" / "mirror")]),
        ]

    def inside(self, path: Path) -> Path:
        """Return ``path`` in the service's folder, unless it is absolute."""
        return self.folder / path

    @classmethod
    def load(cls, file: Path | None = None) -> Settings:
        """Read ``file``, by default the one in the service's folder, which need not exist.

        Raises ``PipelineError`` with every mistake, each with its line.
        """
        default = Home.default().service / FILE_NAME
        if file is None and not default.exists():
            return cls()
        source = yaml_source.load(file or default)
        return cls.parse(source)

    @classmethod
    def parse(cls, source: YamlSource) -> Settings:
        """Check what a YAML document says. Raises ``PipelineError`` with every mistake, each with its line."""
        data = source.data if source.data is not None else {}
        if not isinstance(data, dict):
            raise PipelineError(f"{source.position(())}: settings are a mapping of names to values")
        try:
            folder = _folder(data, source.file)
            if isinstance(data.get("folder"), str) and data["folder"]:
                data = {**data, "folder": str(folder)}
            return cls.model_validate(data, context={FOLDER: folder})
        except ValidationError as error:
            mistakes = [_explain(source, one) for one in error.errors(include_url=False, include_input=False)]
        raise PipelineError(
            f"{source.file}: {len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''} in the settings",
            details=mistakes,
            hint="docs/image-service-settings.md lists every option",
        )


def _folder(data: dict[str, Any], file: str) -> Path:
    """Return the service's folder, in which the settings' paths lie; a relative one is beside the settings."""
    named = data.get("folder")
    return Path(file).absolute().parent / named if isinstance(named, str) and named else Home.default().service


def _explain(source: YamlSource, error: Any) -> str:
    path = _path_in(source, error["loc"])
    name = ".".join(str(part) for part in path)
    text = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        text = "there is no such option"
    return f"{source.position(path)}: {name + ': ' if name else ''}{text}"


def _path_in(source: YamlSource, location: tuple[int | str, ...]) -> YamlPath:
    """pydantic's place as the document's: it names the chosen kind of a union too, which is no key there."""
    path: YamlPath = ()
    for number, part in enumerate(location):
        if (*path, part) in source.positions or number == len(location) - 1:
            path = (*path, part)
    return path


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
