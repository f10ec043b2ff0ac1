"""Load the image service's settings for a command, and have the command log as they say."""

from __future__ import annotations

from pathlib import Path

from pipeline.imageservice.server import logs
from pipeline.imageservice.settings import Settings


def load(file: str) -> Settings:
    """Read the settings: ``file``, or those in the service's folder. Raises ``PipelineError`` naming every mistake."""
    settings = Settings.load(Path(file) if file else None)
    logs.set_up(settings.log_level if "log_level" in settings.model_fields_set else "warning")
    return settings
