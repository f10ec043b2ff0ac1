"""Describe long work as the API shows it and workers do it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pipeline.imageservice.model.images import now


class TaskStatus(StrEnum):
    """Where a task is in its life."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCESS = "success"
    FAILURE = "failure"

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self in (TaskStatus.SUCCESS, TaskStatus.FAILURE)


@dataclass(frozen=True, slots=True)
class Task:
    """One task. Times in microseconds; ``message`` and ``result`` come with its end, ``progress`` before that.

    ``node``: the one node whose workers may do it, ``None`` for any. ``state``: what the work has found out so far, for
    the worker that goes on with it; clients never see it.
    """

    id: str
    type: str
    status: TaskStatus
    owner: str | None
    image_id: str | None
    user_id: str | None
    request_id: str | None
    input: Mapping[str, Any] | None
    result: Mapping[str, Any] | None
    message: str | None
    progress: Mapping[str, Any] | None
    created_at: int
    updated_at: int
    expires_at: int | None
    deleted_at: int | None
    attempt: int
    not_before: int
    holder: str | None
    fence: int
    lease_until: int | None
    node: str | None = None
    state: Mapping[str, Any] | None = None

    @property
    def is_claimed(self) -> bool:
        """Whether a living worker is at it."""
        return self.lease_until is not None and self.lease_until > now()
