"""Load the image service's settings for a command, and have the command log as they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.imageservice.server import logs
from pipeline.imageservice.settings import Settings

if TYPE_CHECKING:
    from pipeline.imageservice.service import Service


def load(file: str) -> Settings:
    """Read the settings: ``file``, or those in the service's folder. Raises ``PipelineError`` naming every mistake."""
    settings = Settings.load(Path(file) if file else None)
    logs.set_up(settings.log_level if "log_level" in settings.model_fields_set else "warning")
    return settings


def service(file: str) -> Service:
    """Make the service that the settings describe, whose catalog can be worked with. Raises ``PipelineError``."""
    from pipeline.imageservice.catalog.database import migrate
    from pipeline.imageservice.service import Service  # brings the whole service with it

    settings = load(file)
    if settings.is_embedded:
        settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Service.from_settings(settings)
    migrate.prepare(made.database, embedded=settings.is_embedded)
    return made
