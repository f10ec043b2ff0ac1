"""A store of files whose addresses clients may give, in many spellings: for tests that need no real object store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.imageservice.stores.base import Store
from pipeline.imageservice.stores.file.options import FileOptions
from pipeline.imageservice.stores.file.store import FileStore
from tests.integration.imageservice.api.world import Api


class ShelfStore(FileStore):
    """A file store whose addresses begin with ``shelf:`` too. ``deleted``: the addresses that were deleted.

    ``before_delete`` is called before an object goes.
    """

    schemes: tuple[str, ...] = ("file", "filesystem", "shelf", "shelf+x")

    def __init__(self, options: FileOptions) -> None:
        super().__init__(options)
        self.deleted: list[str] = []
        self.before_delete: Callable[[str], None] = lambda uri: None

    def delete(self, uri: str) -> None:
        self.before_delete(uri)
        super().delete(uri)
        self.deleted.append(uri)


@dataclass(frozen=True)
class ShelfApi:
    """A service with such stores: ``main``, and ``again`` with the same folder."""

    api: Api
    folder: Path

    @property
    def main(self) -> ShelfStore:
        store = self.api.service.stores["main"]
        assert isinstance(store, ShelfStore)
        return store

    def put(self, name: str, data: bytes = b"data") -> str:
        """An object that somebody else has put into the store; its address."""
        (self.folder / name).write_bytes(data)
        return f"shelf://{self.folder}/{name}"

    def spellings(self, name: str) -> list[str]:
        return [
            f"shelf://{self.folder}/{name}",
            f"shelf+x://{self.folder}/{name}",
            f"shelf://{self.folder}/./{name}",
            f"shelf://{self.folder.with_name('link')}/{name}",
        ]


def shelf_api(make_api: Callable[..., Api], folder: Path, **more: Any) -> ShelfApi:
    """A service that shows locations, with the folder ``main``, and a link to it."""
    real, link = folder / "main", folder / "link"
    real.mkdir(exist_ok=True)
    if not link.exists():
        link.symlink_to(real)
    stores = [
        {"id": "main", "directories": [str(real)]},
        {"id": "again", "directories": [str(link)], "read_only": True},
        {"id": "second", "directories": [str(folder / "second")]},
    ]
    api = make_api(stores=stores, **{"api": {"show_locations": True}, **more})
    made: dict[str, Store] = api.service.stores._stores
    for store in list(made.values()):
        assert isinstance(store, FileStore)
        made[store.id] = ShelfStore(store.options)
    api.service.stores.default = made["main"]
    return ShelfApi(api, real)
