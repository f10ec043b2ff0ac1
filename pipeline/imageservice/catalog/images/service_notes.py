"""Note what the service has to remember of an image, each note changed by one atomic statement.

The API shows some of them with the prefix ``os_glance_``: ``import_task`` (the import lock, a task's id),
``importing_to_stores`` and ``failed_import`` (comma lists that stay as empty text after an import). Others are never
shown: ``stage_host``, ``hash_op_host``, ``staged`` (what is known of staged data), ``refused_store`` (where data lies
that was not what its digest said). No request can write them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.model.images import now

IMPORT_TASK = "import_task"
IMPORTING_TO_STORES = "importing_to_stores"
FAILED_IMPORT = "failed_import"
STAGE_HOST = "stage_host"
HASH_OP_HOST = "hash_op_host"
STAGED = "staged"
CANCEL = "cancel_import"
REFUSED_STORE = "refused_store"
HIDDEN = frozenset({STAGE_HOST, HASH_OP_HOST, STAGED, CANCEL, REFUSED_STORE})

_T = tables.service_notes
_OF_ONE = select(_T.c.name, _T.c.value).where(_T.c.image_id == bindparam("image_id"))


def of_image(connection: Connection, image_id: str) -> dict[str, str]:
    """Return all notes on one image."""
    return {row.name: row.value for row in connection.execute(_OF_ONE, {"image_id": image_id})}


def of_images(connection: Connection, image_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return all notes on several images; an image without any has no entry."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    query = select(_T.c.image_id, _T.c.name, _T.c.value).where(_T.c.image_id.in_(image_ids))
    for image_id, name, value in connection.execute(query):
        found[image_id][name] = value
    return dict(found)


def put(connection: Connection, image_id: str, name: str, value: str) -> None:
    """Write a note, over an older one of that name. Lock the image first."""
    changed = update(_T).where(_T.c.image_id == image_id, _T.c.name == name).values(value=value, updated_at=now())
    if connection.execute(changed).rowcount == 0:
        row = {"image_id": image_id, "name": name, "value": value, "updated_at": now()}
        connection.execute(insert(_T), row)


def put_if_absent(connection: Connection, image_id: str, name: str, value: str) -> bool:
    """Write a note unless there is one of that name; whether it was written. Lock the image first."""
    present = select(_T.c.name).where(_T.c.image_id == image_id, _T.c.name == name)
    if connection.execute(present).first():
        return False
    row = {"image_id": image_id, "name": name, "value": value, "updated_at": now()}
    try:
        connection.execute(insert(_T), row)
    except IntegrityError:
        return False
    return True


def remove(connection: Connection, image_id: str, name: str, *, only_if: str | None = None) -> bool:
    """Take a note away (with ``only_if``: when that is what it says); whether there was one."""
    query = delete(_T).where(_T.c.image_id == image_id, _T.c.name == name)
    if only_if is not None:
        query = query.where(_T.c.value == only_if)
    return connection.execute(query).rowcount > 0


def change_list(
    connection: Connection, image_id: str, name: str, *, add: Iterable[str] = (), drop: Iterable[str] = ()
) -> list[str]:
    """Add to and drop from a comma list; returns what it holds now. Lock the image first."""
    query = select(_T.c.value).where(_T.c.image_id == image_id, _T.c.name == name)
    text = connection.execute(query).scalar() or ""
    dropped = set(drop)
    items = [item for item in text.split(",") if item and item not in dropped]
    items += [item for item in add if item not in items]
    put(connection, image_id, name, ",".join(items))
    return items
