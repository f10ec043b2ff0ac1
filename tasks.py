"""The tasks of ``./inv``, chapter after chapter as ``./inv --list`` tells them: see ``pipeline/face/chapters``."""

from __future__ import annotations

from importlib import import_module

from pipeline.face import task

for _chapter in ("build", "publish", "service", "keys", "house"):
    import_module(f"pipeline.face.chapters.{_chapter}")

namespace = task.namespace()
