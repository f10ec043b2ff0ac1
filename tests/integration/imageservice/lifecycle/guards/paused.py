"""A process that is paused at any call of a store, as a live migration or a debugger does it.

Two nodes work on one catalog and the same stores. Every call that the first one makes to a store is a point, once
before and once after it; at the chosen one the other node does what happens in the world meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Connection, update

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.stores.base import Store, Writer
from tests.integration.imageservice.api.world import Api

_CALLS = ("writer", "find", "delete", "incomplete", "discard", "reader", "take_over")


class Pause:
    """Counts the points; at the one numbered ``at``, ``meanwhile`` happens. ``fail``: points that fail, by a call."""

    def __init__(self, at: int | None = None, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.count, self.happened = 0, ""
        self._at, self._meanwhile = at, meanwhile
        self._busy = False

    @property
    def lasts(self) -> bool:
        """Whether the process is paused just now."""
        return self._busy

    def point(self, what: str) -> None:
        if self._busy:
            return
        if self.count == self._at:
            self._busy, self.happened = True, what
            self._meanwhile()
            self._busy = False
        self.count += 1


class PausedStore:
    """A store of the node that is paused."""

    def __init__(self, store: Store, pause: Pause) -> None:
        self._store, self._pause = store, pause

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return self._paused(name, found) if name in _CALLS else found

    def _paused(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **more: Any) -> Any:
            self._pause.point(f"before {self._store.id}.{name}")
            made = call(*arguments, **more)
            if name == "incomplete":
                made = iter(list(made))
            self._pause.point(f"after {self._store.id}.{name}")
            return PausedWriter(made, self._pause) if name == "writer" else made

        return run


class PausedWriter(Writer):
    """A writer of such a store."""

    def __init__(self, writer: Writer, pause: Pause) -> None:
        self._writer, self._pause = writer, pause

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def _run(self, name: str, *arguments: Any, **more: Any) -> Any:
        self._pause.point(f"before {name}")
        done = getattr(self._writer, name)(*arguments, **more)
        self._pause.point(f"after {name}")
        return done

    def write(self, data: memoryview) -> None:
        self._run("write", data)

    def commit(self, *, replace: bool = False) -> Any:
        return self._run("commit", replace=replace)

    def abort(self) -> None:
        self._run("abort")

    def undo(self) -> None:
        self._run("undo")


def pause_stores(api: Api, pause: Pause) -> None:
    """Let every store of a node have its points."""
    keeper = api.service.leases
    renew = keeper._renew

    def renew_unless_paused(held: Any) -> None:
        if not pause.lasts:  # a process that is paused renews nothing; only this one's threads go on
            renew(held)

    keeper._renew = renew_unless_paused  # type: ignore[method-assign]
    service = api.service
    for name, store in list(service.stores._stores.items()):
        service.stores._stores[name] = PausedStore(getattr(store, "_store", store), pause)  # type: ignore[assignment]
    service.stores.default = service.stores._stores[service.stores.default.id]
    staging = getattr(service.staging, "_store", service.staging)
    object.__setattr__(service, "staging", PausedStore(staging, pause))


def let_leases_end(api: Api) -> None:
    """What a pause longer than every lease means to the others."""

    def work(connection: Connection) -> None:
        connection.execute(update(tables.leases).values(expires_at=1))
        connection.execute(update(tables.tasks).where(tables.tasks.c.holder.is_not(None)).values(lease_until=1))

    api.service.database.write(work)


def everything_in(store: Store) -> Iterator[str]:
    """The names of all that lies in a store, finished or not."""
    store = getattr(store, "_store", store)
    for found in store.objects():
        yield found.name
    for left in store.incomplete():
        yield f"unfinished {left.name}"
