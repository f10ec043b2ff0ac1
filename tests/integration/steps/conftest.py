"""All steps that run here are held against what their keys hold."""

from __future__ import annotations

from tests.environments.traced_steps import traced_steps

__all__ = ["traced_steps"]
