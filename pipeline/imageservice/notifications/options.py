"""Declare the settings of notifications."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from pipeline.base.settings_path import SettingsPath


class _NotificationModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LogTarget(_NotificationModel):
    """One JSON line per event in the service's log."""

    kind: Literal["log"] = "log"


class WebhookTarget(_NotificationModel):
    """One POST of a JSON document per event, repeated for a while when it is not taken."""

    kind: Literal["webhook"] = "webhook"
    url: str = Field(pattern=r"^https?://", description="Where to POST to.")
    secret: SecretStr | None = Field(
        None, description="Signs each body: HMAC-SHA256 in hex, in the header X-Signature-SHA256."
    )
    timeout: float = Field(5, gt=0, description="Seconds to wait for an answer.")
    attempts: int = Field(4, ge=1, description="Attempts for one event, with growing pauses between them.")


class BusTarget(_NotificationModel):
    """The message bus, by oslo.messaging (the extra `messaging`)."""

    kind: Literal["bus"] = "bus"
    transport_url: SecretStr | None = Field(None, description="rabbit://user:password@host:5672/ and the like.")
    config_file: SettingsPath | None = Field(None, description="An oslo.config file with oslo.messaging's sections.")
    topics: list[str] = Field(["notifications"], description="Topics to publish on.")
    publisher: str | None = Field(None, description="The publisher's id; by default image.HOST.")
    attempts: int = Field(4, ge=1, description="Attempts for one event, with growing pauses between them.")


TargetOptions = Annotated[LogTarget | WebhookTarget | BusTarget, Field(discriminator="kind")]


class NotificationOptions(_NotificationModel):
    """Who is told what happened."""

    targets: list[TargetOptions] = Field([], description="Where events go; by default nowhere.")
    disabled: list[str] = Field([], description="Events, or beginnings of events such as `image.member`, not to send.")
    queue: int = Field(10_000, ge=1, description="Events that may wait in a process; further ones are dropped.")
