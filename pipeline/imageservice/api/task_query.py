"""Parse the query of ``GET /v2/tasks`` into what the catalog is asked."""

from __future__ import annotations

from pipeline.imageservice.api.options import ApiOptions
from pipeline.imageservice.api.parameters import Parameters, is_uuid, read_directions, read_limit
from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.model.queries import TASK_SORT_KEYS, TaskQuery
from pipeline.imageservice.model.tasks import TaskStatus

_FILTERS = ("status", "type", "owner", "id", "image_id", "user_id", "request_id", "message")


def read_query(parameters: Parameters, options: ApiOptions) -> TaskQuery:
    """Return the list that is asked for. Raises ``Invalid``."""
    marker = parameters.one("marker")
    if marker is not None and not is_uuid(marker):
        raise Invalid("Invalid marker format: a task's id is a UUID")
    key = parameters.one("sort_key") or "created_at"
    if key not in TASK_SORT_KEYS:
        raise Invalid(f"Invalid sort key: {key[:64]!r}; use {', '.join(TASK_SORT_KEYS)}")
    directions = read_directions(parameters.all("sort_dir")[-1:])
    filters = {name: value for name, value in parameters.pairs if name in _FILTERS}
    if "status" in filters and filters["status"] not in list(TaskStatus):
        raise Invalid(f"Invalid status value: {filters['status'][:64]!r}; use {', '.join(TaskStatus)}")
    if "type" in filters and filters["type"] != "import":
        raise Invalid(f"Invalid type value: {filters['type'][:64]!r}; use import")
    return TaskQuery(
        filters=tuple(sorted(filters.items())),
        sort_key=key,
        descending=directions[0] if directions else True,
        limit=read_limit(parameters, options),
        marker=marker,
    )
