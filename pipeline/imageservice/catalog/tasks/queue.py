"""Queue tasks: what the API shows of long work, and what workers take it from.

A worker claims a task for a while and keeps renewing its claim; when it dies, another one claims it again (``attempt``
grows). ``fence`` tells a claim from every earlier one: each write of a worker names it, and fails once the claim is
lost.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, insert, or_, select, update

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.database.tables import AnyRow
from pipeline.imageservice.catalog.tasks import leases
from pipeline.imageservice.errors import Conflict, NotFound
from pipeline.imageservice.model.images import now
from pipeline.imageservice.model.tasks import Task, TaskStatus

_T = tables.tasks
COLUMNS = tuple(_T.c)


def create(
    connection: Connection,
    type_: str,
    *,
    owner: str | None,
    input_: Mapping[str, Any] | None,
    image_id: str | None = None,
    user_id: str | None = None,
    request_id: str | None = None,
    task_id: str | None = None,
    node: str | None = None,
    state: Mapping[str, Any] | None = None,
    delay: float = 0,
) -> Task:
    """Write down a new, pending task that a worker may claim ``delay`` seconds from now."""
    moment = now()
    task = Task(
        id=task_id or str(uuid.uuid4()),
        type=type_,
        status=TaskStatus.PENDING,
        owner=owner,
        image_id=image_id,
        user_id=user_id,
        request_id=request_id,
        input=dict(input_) if input_ is not None else None,
        result=None,
        message=None,
        progress=None,
        created_at=moment,
        updated_at=moment,
        expires_at=None,
        deleted_at=None,
        attempt=0,
        not_before=moment + int(delay * 1_000_000),
        holder=None,
        fence=0,
        lease_until=None,
        node=node,
        state=dict(state) if state is not None else None,
    )
    row = {column.name: getattr(task, column.name) for column in COLUMNS}
    connection.execute(insert(_T), {**row, "status": str(task.status)})
    return task


def get(connection: Connection, task_id: str) -> Task:
    """Return the task. Raises ``NotFound``, also when it has expired."""
    row = connection.execute(select(*COLUMNS).where(_T.c.id == task_id, *living())).first()
    if row is None:
        raise NotFound(f"Task not found: {task_id}")
    return from_row(row)


def of_image(connection: Connection, image_id: str) -> list[Task]:
    """Return the tasks about one image that have not expired, newest first."""
    query = select(*COLUMNS).where(_T.c.image_id == image_id, *living())
    return [from_row(row) for row in connection.execute(query.order_by(_T.c.created_at.desc(), _T.c.id.desc()))]


def forget_expired(connection: Connection) -> None:
    """Hide tasks whose time is over."""
    due = update(_T).where(_T.c.expires_at <= now(), _T.c.deleted_at.is_(None))
    connection.execute(due.values(deleted_at=now()))


def waiting(connection: Connection, types: Collection[str]) -> bool:
    """Return whether there may be a task of one of ``types`` to claim."""
    query = select(_T.c.id).where(_free(), _T.c.type.in_(types), _T.c.deleted_at.is_(None)).limit(1)
    return connection.execute(query).first() is not None


def bound(connection: Connection, types: Collection[str]) -> list[Task]:
    """Return the waiting tasks of ``types`` that only one node can do."""
    query = select(*COLUMNS).where(_free(), _T.c.node.is_not(None), _T.c.type.in_(types), _T.c.deleted_at.is_(None))
    return [from_row(row) for row in connection.execute(query.order_by(_T.c.not_before))]


def claim(
    connection: Connection,
    types: Collection[str],
    holder: str,
    seconds: float,
    *,
    node: str | None = None,
    task_id: str | None = None,
    newcomers: bool = False,
) -> Task | None:
    """Take a waiting task of one of ``types`` for ``seconds``; ``None`` when there is nothing to do.

    It is the longest waiting one of the project that has the fewest at work, on all nodes. A task whose worker stopped
    renewing counts as waiting. ``node``: where the worker is; without it, it takes only what any worker may do.
    ``task_id``: this one or none. ``newcomers``: only of projects that have none at work.
    """
    moment = now()
    here = _T.c.node.is_(None) if node is None else or_(_T.c.node.is_(None), _T.c.node == node)
    query = select(*COLUMNS).where(_free(), here, _T.c.type.in_(types), _T.c.deleted_at.is_(None))
    if task_id is not None:
        query = query.where(_T.c.id == task_id)
    row = None
    for owner in _by_turn(connection, query, types, newcomers=newcomers):
        mine = query.where(_T.c.owner == owner if owner is not None else _T.c.owner.is_(None))
        mine = mine.order_by(_T.c.not_before, _T.c.id).limit(1).with_for_update(skip_locked=True)
        row = connection.execute(mine).first()
        if row is not None:
            break
    if row is None:
        return None
    task = from_row(row)
    changes: dict[str, Any] = {
        "status": TaskStatus.PROCESSING,
        "holder": holder,
        "fence": leases.next_number(connection, "fence"),
        "attempt": task.attempt + 1,
        "lease_until": moment + int(seconds * 1_000_000),
        "updated_at": moment,
    }
    connection.execute(update(_T).where(_T.c.id == task.id).values(**changes))
    return dataclasses.replace(task, **changes)


def at_work(connection: Connection, types: Collection[str]) -> list[Task]:
    """Return the tasks of ``types`` that living workers are at, on all nodes."""
    working = (_T.c.status == str(TaskStatus.PROCESSING), _T.c.lease_until > now())
    query = select(*COLUMNS).where(*working, _T.c.type.in_(types), _T.c.deleted_at.is_(None))
    return [from_row(row) for row in connection.execute(query)]


def in_line(connection: Connection, types: Collection[str], limit: int) -> list[Task]:
    """Return waiting tasks of ``types``, at most ``limit``, the longest waiting first."""
    query = select(*COLUMNS).where(_free(), _T.c.type.in_(types), _T.c.deleted_at.is_(None))
    return [from_row(row) for row in connection.execute(query.order_by(_T.c.not_before, _T.c.id).limit(limit))]


def _by_turn(
    connection: Connection, waiting: Select[Any], types: Collection[str], *, newcomers: bool
) -> list[str | None]:
    """Return the owners of waiting tasks, in the order in which it is their turn."""
    owner = _T.c.owner
    working = (_T.c.status == str(TaskStatus.PROCESSING), _T.c.lease_until > now())
    count = select(owner, func.count()).where(*working, _T.c.type.in_(types), _T.c.deleted_at.is_(None))
    has = {row[0]: row[1] for row in connection.execute(count.group_by(owner))}
    since = waiting.with_only_columns(owner, func.min(_T.c.not_before)).group_by(owner)
    found = [(has.get(name, 0), moment, name) for name, moment in connection.execute(since)]
    return [name for count, _, name in sorted(found, key=lambda one: one[:2]) if not (newcomers and count)]


def renew(connection: Connection, task: Task, seconds: float, **changes: Any) -> Task:
    """Keep the claim for ``seconds`` from now; may set ``message`` and ``progress``. Raises ``Conflict`` when lost."""
    moment = now()
    return _write(connection, task, updated_at=moment, lease_until=moment + int(seconds * 1_000_000), **changes)


def check(connection: Connection, task: Task) -> None:
    """Raise ``Conflict`` unless the claim still stands; nobody else gets it before this transaction ends."""
    if connection.execute(select(_T.c.id).where(*_mine(task)).with_for_update()).first() is None:
        raise _lost(task)


def put_back(
    connection: Connection, task: Task, *, delay: float, message: str | None = None, node: str | None = None
) -> Task:
    """Give the task back, to be tried again ``delay`` seconds from now at the earliest; on ``node``, or anywhere."""
    moment = now()
    return _write(
        connection,
        task,
        status=TaskStatus.PENDING,
        holder=None,
        lease_until=None,
        message=message,
        not_before=moment + int(delay * 1_000_000),
        updated_at=moment,
        node=node,
    )


def finish(
    connection: Connection,
    task: Task,
    status: TaskStatus,
    *,
    hours_to_live: float,
    result: Mapping[str, Any] | None = None,
    message: str | None = None,
) -> Task:
    """End a claimed task; it stays readable for ``hours_to_live``. Raises ``Conflict`` when the claim was lost."""
    moment = now()
    return _write(
        connection,
        task,
        status=status,
        result=dict(result) if result is not None else None,
        message=message,
        updated_at=moment,
        expires_at=moment + int(hours_to_live * 3_600_000_000),
        holder=None,
        lease_until=None,
    )


def abort(connection: Connection, task_id: str, message: str, *, hours_to_live: float) -> None:
    """End a task from outside, whoever works on it: its worker's next write fails. Nothing happens when it is over."""
    moment = now()
    over = [str(status) for status in TaskStatus if status.is_over]
    query = update(_T).where(_T.c.id == task_id, _T.c.status.not_in(over))
    connection.execute(
        query.values(
            status=str(TaskStatus.FAILURE),
            message=message,
            updated_at=moment,
            expires_at=moment + int(hours_to_live * 3_600_000_000),
            fence=leases.next_number(connection, "fence"),
            holder=None,
            lease_until=None,
        )
    )


def _write(connection: Connection, task: Task, **changes: Any) -> Task:
    values = {**changes, "status": str(changes["status"])} if "status" in changes else changes
    if connection.execute(update(_T).where(*_mine(task)).values(**values)).rowcount != 1:
        raise _lost(task)
    return dataclasses.replace(task, **changes)


def _free() -> ColumnElement[bool]:
    moment = now()
    return or_(
        and_(_T.c.status == str(TaskStatus.PENDING), _T.c.not_before <= moment),
        and_(_T.c.status == str(TaskStatus.PROCESSING), _T.c.lease_until <= moment),
    )


def _mine(task: Task) -> tuple[Any, ...]:
    return (_T.c.id == task.id, _T.c.fence == task.fence, _T.c.status == str(task.status))


def living() -> tuple[Any, ...]:
    """Return the conditions for tasks that are still shown."""
    return (_T.c.deleted_at.is_(None), or_(_T.c.expires_at.is_(None), _T.c.expires_at > now()))


def _lost(task: Task) -> Conflict:
    return Conflict(f"task {task.id} is not this worker's any more")


def from_row(row: AnyRow) -> Task:
    """Return the task in a row of ``COLUMNS``."""
    values = dict(zip((column.name for column in COLUMNS), row, strict=True))
    values["status"] = TaskStatus(values["status"])
    return Task(**values)
