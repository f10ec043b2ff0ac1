"""Bringing an image's bytes to one store or several, in the way that a cloud offers.

An upload goes to one store. To get to further ones, the service copies it (for administrators only, by the usual
policy), or the bytes are staged once and imported to all stores at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.base.progress import Progress
from pipeline.publishing.cloud_errors import CloudError, NotAllowed
from pipeline.publishing.image_api import ImageApi
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.journal import Journal
from pipeline.publishing.offering import offered
from pipeline.publishing.wanted import Wanted

GLANCE_DIRECT, WEB_DOWNLOAD = METHODS = ("glance-direct", "web-download")


class CopyNotAllowed(CloudError):
    """This user may not have images copied to further stores, but may import them there."""


@dataclass(frozen=True)
class Carrier:
    """Carries one image to ``stores``; none means the cloud's default. ``method``: the import a person asks for."""

    api: ImageApi
    wanted: Wanted
    stores: Sequence[str]
    journal: Journal
    progress: Progress
    method: str = ""

    def bring(self, record: ImageRecord) -> ImageRecord:
        """The record once its bytes are in every store. Raises ``CopyNotAllowed`` when ``bring_by_import`` is left."""
        if self.method and not record.is_active:
            return self._bring_as_asked(record)
        several = len(self.stores) > 1
        methods = self.api.import_methods() if several and not self._is_everywhere(record) else frozenset()
        if several and not record.is_active and ("copy-image" not in methods or self._had_to_import()):
            if GLANCE_DIRECT in methods:
                return self.bring_by_import(record)
            raise self._one_store_only()
        if not record.is_active:
            record = self._upload(record)
        if not several or self._is_everywhere(record):
            return record
        try:
            return self._copy(record)
        except NotAllowed:
            if GLANCE_DIRECT in methods and record.state is not None and not record.state.was_verified:
                raise CopyNotAllowed(f"cloud {self.api.cloud} does not let this user copy images") from None
            raise

    def bring_by_import(self, record: ImageRecord) -> ImageRecord:
        """The record once its bytes are in every store, by a single import."""
        self.journal.note("import", record.id, stores=list(self.stores))
        self.progress.say(f"uploading to {self.api.cloud}" + self._for_stores)
        return self.api.upload_to_all(
            record.id, self.wanted.path, self.wanted.size, self.stores, progress=self.progress
        )

    def _bring_as_asked(self, record: ImageRecord) -> ImageRecord:
        open_ = self.api.import_methods()
        if self.method not in open_:
            raise CloudError(
                f"cloud {self.api.cloud} does not offer the import method {self.method}",
                hint=f"it offers {', '.join(sorted(open_)) or 'none'}",
            )
        if self.method == GLANCE_DIRECT:
            return self.bring_by_import(record)
        self.journal.note("import", record.id, stores=list(self.stores))
        self.progress.say(f"offered to {self.api.cloud}" + self._for_stores)
        with offered(self.wanted.path, self.wanted.sha512, self.api.url) as uri:
            return self.api.fetch_to_all(record.id, uri, self.wanted.size, self.stores, progress=self.progress)

    @property
    def _for_stores(self) -> str:
        return f", for the stores {', '.join(self.stores)}" if self.stores else ""

    def _upload(self, record: ImageRecord) -> ImageRecord:
        first = self.stores[0] if self.stores else None
        self.journal.note("upload", record.id, store=first)
        self.progress.say(f"uploading to {self.api.cloud}" + (f", store {first}" if first else ""))
        return self.api.upload(record.id, self.wanted.path, self.wanted.size, store=first, progress=self.progress)

    def _copy(self, record: ImageRecord) -> ImageRecord:
        missing = [store for store in self.stores if store not in record.stores]
        self.journal.note("copy", record.id, stores=missing)
        self.progress.say(f"copying to {', '.join(missing)}")
        return self.api.copy(record.id, missing, progress=self.progress)

    def _had_to_import(self) -> bool:
        """Whether this cloud refused to copy before: then nothing is sent twice."""
        return any(event.act == "import" for event in self.journal.events())

    def _is_everywhere(self, record: ImageRecord) -> bool:
        return record.is_active and all(store in record.stores for store in self.stores)

    def _one_store_only(self) -> CloudError:
        return CloudError(
            f"cloud {self.api.cloud} puts an image into one store only: it offers neither copy-image nor glance-direct",
            hint="name one store for this cloud in recipes/nightly.yaml",
        )
