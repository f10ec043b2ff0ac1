"""Call one cloud's image service: its records, and the bytes of its images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pipeline.base.progress import Progress, nothing
from pipeline.image.definitions.judge import DefinedProperties
from pipeline.publishing.cloud import definitions
from pipeline.publishing.cloud.errors import (
    ChecksumMismatch,
    CloudConflict,
    CloudUnreachable,
    RequestRefused,
    TransferFailed,
)
from pipeline.publishing.cloud.file_body import FileBody
from pipeline.publishing.cloud.http import UPLOAD_TIMEOUT
from pipeline.publishing.cloud.import_progress import ImportProgress
from pipeline.publishing.cloud.owners import Owners
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.cloud.records import ImageRecords, path_of

_BUSY = ("saving", "importing", "uploading")
_LOCK = "os_glance_import_task"
_STORE = "X-Openstack-Image-Store"


@dataclass(frozen=True)
class ImageBytes:
    """An image's data in blocks. ``store`` is the one they are from, where the service says so."""

    blocks: Iterator[bytes]
    store: str | None

    def __iter__(self) -> Iterator[bytes]:
        return self.blocks


class ImageApi(ImageRecords):
    """One cloud's image service. Uploads and copies settle what they were asked for, as changes of records do."""

    @property
    def url(self) -> str:
        """Where the service is. Raises ``CloudError`` when the cloud has none."""
        return self._http.url

    def definitions(self) -> DefinedProperties:
        """Return what the cloud defines of images' properties. Raises ``CloudError`` when it cannot be read whole."""
        return definitions.read(self._http)

    def guarded(self, guard: Callable[[], None]) -> ImageApi:
        """Return the same cloud, with ``guard`` asked, too, before each request that changes anything; it may raise."""
        return ImageApi(self._http.guarded(guard), self.owners)

    def known_as(self, owners: Owners) -> ImageApi:
        """Return the same cloud, once it is known (better) whose images are ours."""
        return ImageApi(self._http, owners)

    def upload(
        self, image_id: str, path: Path, size: int, *, store: str | None = None, progress: Progress = nothing
    ) -> ImageRecord:
        """Send a file as the image's data; return the record once it is active.

        Raises ``TransferFailed`` when the service holds on to a broken upload: then only a new record helps.
        """
        headers = {"X-Image-Meta-Store": store} if store else {}
        for attempt in self._http.tries():
            record = self._at_rest(image_id)
            if record.is_active:
                return self._complete(record, size)
            try:
                self._send("file", image_id, path, size, headers, progress)
            except (CloudUnreachable, CloudConflict):
                if attempt == self.retry_policy.attempts:
                    raise
            else:
                return self._complete(self._at_rest(image_id), size)
        raise AssertionError("a retry policy has at least one attempt")

    def upload_to_all(
        self, image_id: str, path: Path, size: int, stores: Sequence[str], *, progress: Progress = nothing
    ) -> ImageRecord:
        """Send a file once and have the service import it to all ``stores``; return the record once it is active there.

        It needs no more rights than an upload, where ``copy`` is for administrators. Raises ``TransferFailed`` when it
        breaks off after the bytes were sent: only a new record helps then.
        """
        for attempt in self._http.tries():
            record = self._there(image_id)
            if record.status != "queued":
                break
            try:
                self._send("stage", image_id, path, size, {}, progress)
            except (CloudUnreachable, CloudConflict):
                if attempt == self.retry_policy.attempts:
                    raise
        return self._taken(image_id, {"name": "glance-direct"}, size, stores, progress)

    def fetch_to_all(
        self, image_id: str, uri: str, size: int, stores: Sequence[str], *, progress: Progress = nothing
    ) -> ImageRecord:
        """Have the service fetch ``size`` bytes from ``uri`` into ``stores``, by default one; the record once active.

        Raises ``RequestRefused`` when it may not fetch from there, ``TransferFailed`` when it fails.
        """
        return self._taken(image_id, {"name": "web-download", "uri": uri}, size, stores, progress)

    def _taken(
        self, image_id: str, method: Mapping[str, Any], size: int, stores: Sequence[str], progress: Progress
    ) -> ImageRecord:
        """Ask for an import and wait for its end."""
        wish = {"method": dict(method), "stores": list(stores), "all_stores_must_succeed": True}
        if not stores:
            wish = {"method": dict(method)}
        try:
            self._import(image_id, wish)
        except (CloudUnreachable, CloudConflict):
            pass  # whether it took effect shows in what becomes of the image
        record = self._imported(image_id, stores, progress, asked=True)
        missing = [store for store in stores if store not in record.stores]
        if missing or not record.is_active:
            failed = record.properties.get("os_glance_failed_import") or ", ".join(missing)
            raise TransferFailed(
                f"cloud {self.cloud} failed to import image {image_id} to {failed}: {self._task_message(image_id)}"
            )
        return self._complete(record, size)

    def copy(self, image_id: str, stores: Sequence[str], *, progress: Progress = nothing) -> ImageRecord:
        """Have the service copy the image to ``stores`` too; return the record once it is in all of them."""
        for attempt in self._http.tries():
            record = self._imported(image_id, stores, progress)
            missing = [store for store in stores if store not in record.stores]
            if not missing:
                return record
            try:
                self._import(image_id, {"method": {"name": "copy-image"}, "stores": missing})
            except (CloudUnreachable, CloudConflict) as error:
                # 409: an import of this image runs already; what it leaves is seen in the next round.
                if attempt == self.retry_policy.attempts:
                    raise TransferFailed(
                        f"cloud {self.cloud} does not copy image {image_id} to {', '.join(missing)}: {error.message}"
                    ) from None
        record = self._imported(image_id, stores, progress)
        missing = [store for store in stores if store not in record.stores]
        if missing:
            raise TransferFailed(f"cloud {self.cloud} failed to copy image {image_id} to {', '.join(missing)}")
        return record

    @contextlib.contextmanager
    def download(self, image_id: str, *, store: str | None = None) -> Iterator[ImageBytes]:
        """Open the image's data in blocks, from ``store`` and no other where the service can choose.

        A service that cannot delivers from wherever it likes: only what the answer names was read from.
        """
        query = f"?{urlencode({'store': store})}" if store else ""
        what = f"read image {image_id} back" + (f" from store {store}" if store else "")
        with self._http.blocks(f"{path_of(image_id)}/file{query}", what) as (headers, blocks):
            yield ImageBytes(blocks, headers.get(_STORE))

    def _import(self, image_id: str, request: Mapping[str, Any]) -> None:
        self._http.once("POST", f"{path_of(image_id)}/import", f"import image {image_id}", json=dict(request))

    def _send(
        self, end: str, image_id: str, path: Path, size: int, headers: Mapping[str, str], progress: Progress
    ) -> None:
        given = {"Content-Type": "application/octet-stream", "X-OpenStack-Image-Size": str(size), **headers}
        self._http.once(
            "PUT",
            f"{path_of(image_id)}/{end}",
            f"upload image {image_id}",
            data=FileBody(path, size, progress),
            headers=given,
            timeout=UPLOAD_TIMEOUT,
        )

    def _at_rest(self, image_id: str) -> ImageRecord:
        """Return the image once no upload of ours that broke off is being cleaned up any more."""
        status = ""
        for _ in self.retry_policy.until_settled():
            record = self._there(image_id)
            status = record.status
            if status not in _BUSY:
                return record
        raise TransferFailed(f"cloud {self.cloud} leaves image {image_id} {status}")

    def _imported(
        self, image_id: str, stores: Sequence[str], progress: Progress, *, asked: bool = False
    ) -> ImageRecord:
        """Return the image once no import or copy of it runs; as long as something moves, that may take for ever.

        ``asked``: one was begun for sure, so that its task tells of it even when it is over already.
        """
        seen: tuple[object, ...] | None = None
        bars = ImportProgress(progress, stores)
        with contextlib.closing(bars):
            for progressed in self.retry_policy.until_settled():
                record = self._there(image_id)
                running = record.properties.get("os_glance_importing_to_stores") or record.properties.get(_LOCK)
                task = self._newest_task(image_id) if asked or seen or running or record.status in _BUSY else {}
                done = bars.show(task)
                if not running and record.status not in _BUSY:
                    return record
                arrived = sum(store in record.stores for store in stores)
                moved = (arrived, task.get("message"), done)
                if moved != seen:
                    seen = moved
                    progress.advance(arrived, len(stores) or None, "stores")
                    progressed()
        raise TransferFailed(f"cloud {self.cloud} does not finish importing image {image_id} to {', '.join(stores)}")

    def _task_message(self, image_id: str) -> str:
        """Return the last message of the image's newest task; services without such tasks say nothing."""
        return str(self._newest_task(image_id).get("message") or "")[:300]

    def _newest_task(self, image_id: str) -> Mapping[str, Any]:
        """Return what is told of the image's newest task; nothing where there is none, or no such tasks."""
        try:
            answer = self._http.with_retries(
                "GET", f"{path_of(image_id)}/tasks", f"look at the tasks of image {image_id}"
            )
            tasks = [each for each in self._http.document(answer)["tasks"] if isinstance(each, dict)]
        except (RequestRefused, KeyError, TypeError):
            return {}
        newest: Mapping[str, Any] = max(tasks, key=lambda task: str(task.get("created_at")), default={})
        return newest

    def _complete(self, record: ImageRecord, size: int) -> ImageRecord:
        if not record.is_active or record.size != size:
            raise ChecksumMismatch(
                f"image {record.id} on cloud {self.cloud} is {record.status} with {record.size} bytes; {size} were sent"
            )
        return record
