"""The tasks of ``./inv``, chapter after chapter as ``./inv --list`` tells them: see ``pipeline/cli/commands``."""

from __future__ import annotations

from importlib import import_module

from pipeline.cli import task

for _chapter in ("build", "publish", "service", "keys", "dev"):
    import_module(f"pipeline.cli.commands.{_chapter}")

namespace = task.namespace()
