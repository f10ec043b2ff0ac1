"""Describe what a list of images or tasks is asked for, checked and complete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.imageservice.model.images import Image, ImageVisibility, MemberStatus

Operator = Literal["eq", "gte", "lt", "lte", "in", "within", "outside"]
SORT_KEYS = ("name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at")
TASK_SORT_KEYS = ("created_at", "updated_at", "expires_at", "id", "type", "status", "owner")


@dataclass(frozen=True, slots=True)
class Sort:
    """One key to sort by."""

    key: str
    descending: bool


@dataclass(frozen=True, slots=True)
class Condition:
    """A base column compared with a value.

    For ``in`` with several; for ``within`` and ``outside`` with a range whose end does not belong to it.
    """

    column: str
    operator: Operator
    value: str | int | bool | tuple[str, ...] | tuple[int, int]


@dataclass(frozen=True, slots=True)
class Query:
    """A list as ``project`` asks for it.

    ``public_only``: whoever asks sees no others. ``visibility``: exactly that one; ``None``: the default set;
    ``"all"``: that and everybody's community images. ``member_status``: of images that others share with the project;
    ``None``: any. ``sort`` ends with ``created_at`` and ``id``, so that it is total. ``marker`` is the last image of
    the page before.
    """

    project: str | None
    is_admin: bool
    limit: int
    sort: tuple[Sort, ...] = (Sort("created_at", True), Sort("id", True))
    marker: Image | None = None
    visibility: ImageVisibility | Literal["all"] | None = None
    member_status: MemberStatus | None = MemberStatus.ACCEPTED
    hidden: bool = False
    owner: str | None = None
    conditions: tuple[Condition, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    public_only: bool = False

    @property
    def has_default_order(self) -> bool:
        """Whether the order is that of the filter terms: by time, then id, both the same way."""
        keys = [sort.key for sort in self.sort]
        return keys == ["created_at", "id"] and self.sort[0].descending == self.sort[1].descending


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """A list of tasks: equality filters on columns, one key to sort by (the id breaks ties), a page."""

    filters: tuple[tuple[str, str], ...]
    sort_key: str
    descending: bool
    limit: int
    marker: str | None
