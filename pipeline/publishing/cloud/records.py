"""Look at, make, patch, delete and share the records of a cloud's images; each call safe to repeat.

Every call settles what it asked for: when an answer is lost, it looks at what the cloud holds and goes on from there,
so that callers see either the result or a clear failure.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any
from urllib.parse import quote, urlencode

from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.errors import (
    CloudConflict,
    CloudError,
    CloudForbidden,
    CloudNotFound,
    CloudUnreachable,
    OwnerUnknown,
    RequestRefused,
)
from pipeline.publishing.cloud.http import ANSWER_HINT, Http
from pipeline.publishing.cloud.owners import Owners
from pipeline.publishing.cloud.patch import RecordPatch
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.cloud.retry import CloudRetryPolicy
from pipeline.publishing.cloud.stores import CloudStore

_PATCH_TYPE = "application/openstack-images-v2.1-json-patch"
_PAGE = 1000
_FEW = 100


class Deletion(StrEnum):
    """How an attempt to delete ended."""

    DELETED = "deleted"
    IN_USE = "in use"
    PROTECTED = "protected"


class ImageRecords:
    """The records of one cloud's images. ``owners`` says which of them are ours."""

    def __init__(self, http: Http, owners: Owners | None = None) -> None:
        self._http = http
        self.cloud = http.cloud
        self.owners = owners or Owners()

    @property
    def retry_policy(self) -> CloudRetryPolicy:
        """How often and how long to try."""
        return self._http.retry_policy

    def tries(self) -> Iterator[int]:
        """Count attempts from 1, pausing before each as long as the retry policy, or the cloud, asks."""
        return self._http.tries()

    # --- looking ---

    def show(self, image_id: str) -> ImageRecord | None:
        """Return the image, or ``None`` when it does not exist (or is not for this user)."""
        try:
            answer = self._http.with_retries("GET", path_of(image_id), f"show image {image_id}")
        except CloudNotFound:
            return None
        return ImageRecord.parse(self._http.document(answer))

    def images(self, **filters: str) -> list[ImageRecord]:
        """Return all images of ours that match, hidden ones too, without duplicates. Raises ``OwnerUnknown``."""
        shown, hidden = self.shown(**filters), self.hidden(**filters)
        return list({record.id: record for record in (*shown, *hidden)}.values())

    def shown(self, **filters: str) -> list[ImageRecord]:
        """Return those of ``images`` that are not hidden."""
        return self._ours({**filters, "os_hidden": "false"})

    def hidden(self, **filters: str) -> list[ImageRecord]:
        """Return the hidden ones of ``images``."""
        return self._ours({**filters, "os_hidden": "true"})

    def _ours(self, filters: Mapping[str, str]) -> list[ImageRecord]:
        if not self.owners.are_known:
            raise OwnerUnknown(self.cloud)
        # The service is asked for these only: what strangers make costs nothing. And its answer is looked at, too.
        queries = [{**filters, "owner": owner} for owner in self.owners.all]
        # There is no way to ask for what has no owner; where nothing has one, there are no strangers either.
        queries += [dict(filters)] if self.owners.are_nobodys else []
        listed = [each for query in queries for each in self._pages(query)]
        return [each for each in listed if each in self.owners]

    def others(self, **filters: str) -> list[ImageRecord]:
        """Return images of other projects that match, hidden ones too, as far as the first page tells of them."""
        found: list[ImageRecord] = []
        for hidden in ("false", "true"):
            query = {**filters, "os_hidden": hidden, "sort": "created_at:desc"}
            found += itertools.islice(self._pages(query, _FEW), _FEW)
        return [each for each in found if each not in self.owners]

    def visible(self, **filters: str) -> Iterator[ImageRecord]:
        """Yield the images a plain listing shows, newest first."""
        yield from self._pages({**filters, "sort": "created_at:desc"})

    def _pages(self, query: Mapping[str, str], limit: int = _PAGE) -> Iterator[ImageRecord]:
        path = f"/images?{urlencode({**query, 'limit': str(limit)})}"
        seen: set[str] = set()
        while path and path not in seen:
            seen.add(path)
            document = self._http.document(self._http.with_retries("GET", path, "list images"))
            if not isinstance(document, dict) or not isinstance(document.get("images"), list):
                raise CloudError(
                    f"cloud {self.cloud} answered with something that is not a list of images", hint=ANSWER_HINT
                )
            yield from (ImageRecord.parse(each) for each in document["images"])
            following = document.get("next")
            # Links are relative to the service's root, whatever it is mounted on; any other must not get our token.
            text = following if isinstance(following, str) else ""
            path = text.removeprefix("/v2") if text.startswith("/v2/images?") else ""

    def stores(self) -> list[CloudStore]:
        """Return the cloud's stores; empty when it has only one."""
        for path in ("/info/stores/detail", "/info/stores"):
            try:
                document = self._http.document(self._http.with_retries("GET", path, "list stores"))
            except RequestRefused as refusal:
                if refusal.status == 401:
                    raise
                continue  # the details are for administrators; a cloud with one store answers 404
            found = document.get("stores") if isinstance(document, dict) else None
            return (
                [CloudStore.parse(each) for each in found if isinstance(each, dict)] if isinstance(found, list) else []
            )
        return []

    def import_methods(self) -> frozenset[str]:
        """Return how bytes can come in besides an upload: ``copy-image``, ``glance-direct``, ``web-download``, …"""
        try:
            answer = self._http.with_retries("GET", "/info/import", "ask for import methods")
            document = self._http.document(answer)
            return frozenset(document["import-methods"]["value"])
        except (RequestRefused, KeyError, TypeError):
            return frozenset()

    # --- changing records ---

    def create(self, document: Mapping[str, Any]) -> ImageRecord:
        """Make a record with the id given in ``document``. Raises ``CloudConflict`` when another one has that id.

        As long as it is not known who we are, a record that is found is never taken for the one that was made.
        """
        image_id = document["id"]
        for attempt in self._http.tries():
            try:
                answer = self._http.once("POST", "/images", f"create image {image_id}", json=dict(document))
                return ImageRecord.parse(self._http.document(answer))
            except (CloudUnreachable, CloudConflict) as error:
                # A lost answer, or a repeated request that finds the first one's record.
                record = self.show(image_id)
                if record and record in self.owners and _is_of_run(record, document):
                    return record
                if isinstance(error, CloudConflict) or attempt == self.retry_policy.attempts:
                    raise
        raise AssertionError("a retry policy has at least one attempt")

    def patch(self, image_id: str, patch: RecordPatch) -> ImageRecord:
        """Bring an image's record to say what ``patch`` says; nothing is sent when it does already."""
        for attempt in self._http.tries():
            record = self._there(image_id)
            operations = patch.operations(record)
            if not operations:
                return record
            try:
                answer = self._http.once(
                    "PATCH",
                    path_of(image_id),
                    f"change image {image_id}",
                    json=operations,
                    headers={"Content-Type": _PATCH_TYPE},
                )
                return ImageRecord.parse(self._http.document(answer))
            except (CloudUnreachable, CloudConflict):
                # 409: something else changed the record meanwhile; look again.
                if attempt == self.retry_policy.attempts:
                    raise
        raise AssertionError("a retry policy has at least one attempt")

    def mark(self, image_id: str, name: str, value: str, *, timeout: float) -> None:
        """Set one property, trying once: what it is for would be out of date the second time."""
        self._http.once(
            "PATCH",
            path_of(image_id),
            f"mark image {image_id}",
            json=[{"op": "add", "path": f"/{name}", "value": value}],
            headers={"Content-Type": _PATCH_TYPE},
            timeout=timeout,
        )

    def delete(self, image_id: str) -> Deletion:
        """Delete an image; one that is gone already counts as deleted."""
        try:
            self._http.with_retries("DELETE", path_of(image_id), f"delete image {image_id}")
        except CloudNotFound:
            return Deletion.DELETED
        except CloudConflict:
            return Deletion.IN_USE
        except CloudForbidden:
            record = self.show(image_id)
            if record is None:
                return Deletion.DELETED
            if record.is_protected:
                return Deletion.PROTECTED
            raise
        return Deletion.DELETED

    # --- members of a shared image ---

    def members(self, image_id: str) -> dict[str, str]:
        """Return the projects a shared image is for, each with its status (pending, accepted, rejected)."""
        answer = self._http.with_retries("GET", f"{path_of(image_id)}/members", f"list members of image {image_id}")
        document = self._http.document(answer)
        found = document.get("members") if isinstance(document, dict) else None
        members = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
        return {str(each.get("member_id")): str(each.get("status")) for each in members}

    def add_member(self, image_id: str, project: str) -> None:
        """Share an image with ``project``, which may be a member already."""
        with contextlib.suppress(CloudConflict):
            self._http.with_retries(
                "POST",
                f"{path_of(image_id)}/members",
                f"share image {image_id} with {project}",
                json={"member": project},
            )

    def accept_member(self, image_id: str, project: str) -> bool:
        """Accept a shared image for ``project``; whether this user may do that."""
        path = f"{path_of(image_id)}/members/{quote(project, safe='')}"
        try:
            self._http.with_retries("PUT", path, f"accept image {image_id}", json={"status": "accepted"})
        except (CloudForbidden, CloudNotFound):
            return False
        return True

    def remove_member(self, image_id: str, project: str) -> None:
        """Share an image with ``project`` no longer."""
        with contextlib.suppress(CloudNotFound):
            self._http.with_retries(
                "DELETE", f"{path_of(image_id)}/members/{quote(project, safe='')}", f"unshare image {image_id}"
            )

    def _there(self, image_id: str) -> ImageRecord:
        record = self.show(image_id)
        if record is None:
            raise CloudNotFound(f"image {image_id} is gone from cloud {self.cloud}", status=404)
        return record


def _is_of_run(record: ImageRecord, document: Mapping[str, Any]) -> bool:
    return record.properties.get(ownership_marker.RUN) == document.get(ownership_marker.RUN)


def path_of(image_id: str) -> str:
    """Return an image's path; ids come from outside, too."""
    return f"/images/{quote(image_id, safe='')}"
