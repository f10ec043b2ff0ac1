"""The records of a cloud's images: looking, making, changing, deleting, sharing; each call safe to repeat.

Every call settles what it asked for: when an answer is lost, it looks at what the cloud holds and goes on from there,
so that callers see either the result or a clear failure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any
from urllib.parse import quote, urlencode

from pipeline.publishing import marks
from pipeline.publishing.change import Change
from pipeline.publishing.cloud_errors import CloudError, Conflict, NotAllowed, NotThere, Refused, Unreachable
from pipeline.publishing.http import Http
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.patience import Patience
from pipeline.publishing.stores import Store

_PATCH_TYPE = "application/openstack-images-v2.1-json-patch"
_PAGE = 1000


class Deletion(StrEnum):
    """How an attempt to delete ended."""

    DELETED = "deleted"
    IN_USE = "in use"
    PROTECTED = "protected"


class ImageRecords:
    """The records of one cloud's images."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self.cloud = http.cloud

    @property
    def patience(self) -> Patience:
        """How often and how long to try."""
        return self._http.patience

    def tries(self) -> Iterator[int]:
        """Count attempts from 1, pausing before each as long as patience, or the cloud, asks."""
        return self._http.tries()

    # --- looking ---

    def show(self, image_id: str) -> ImageRecord | None:
        """The image, or ``None`` when it does not exist (or is not for this user)."""
        try:
            answer = self._http.patiently("GET", path_of(image_id), f"show image {image_id}")
        except NotThere:
            return None
        return ImageRecord.parse(answer.json())

    def images(self, **filters: str) -> list[ImageRecord]:
        """All images this user's project owns or manages that match, hidden ones too, without duplicates."""
        listed = (self._pages({**filters, "os_hidden": hidden}) for hidden in ("false", "true"))
        return list({record.id: record for records in listed for record in records}.values())

    def hidden(self, **filters: str) -> list[ImageRecord]:
        """The hidden ones of ``images``."""
        return list(self._pages({**filters, "os_hidden": "true"}))

    def visible(self, **filters: str) -> Iterator[ImageRecord]:
        """The images a plain listing shows, newest first."""
        yield from self._pages({**filters, "sort": "created_at:desc"})

    def _pages(self, query: Mapping[str, str]) -> Iterator[ImageRecord]:
        path = f"/images?{urlencode({**query, 'limit': str(_PAGE)})}"
        seen: set[str] = set()
        while path and path not in seen:
            seen.add(path)
            document = self._http.patiently("GET", path, "list images").json()
            if not isinstance(document, dict) or not isinstance(document.get("images"), list):
                raise CloudError(f"cloud {self.cloud} answered with something that is not a list of images")
            yield from (ImageRecord.parse(each) for each in document["images"])
            following = document.get("next")
            # Links are relative to the service's root, whatever it is mounted on; any other must not get our token.
            text = following if isinstance(following, str) else ""
            path = text.removeprefix("/v2") if text.startswith("/v2/images?") else ""

    def stores(self) -> list[Store]:
        """The cloud's stores; empty when it has only one."""
        for path in ("/info/stores/detail", "/info/stores"):
            try:
                document = self._http.patiently("GET", path, "list stores").json()
            except Refused as refusal:
                if refusal.status == 401:
                    raise
                continue  # the details are for administrators; a cloud with one store answers 404
            return [Store.parse(each) for each in document.get("stores", ()) if isinstance(each, dict)]
        return []

    def import_methods(self) -> frozenset[str]:
        """How bytes can come in beside an upload: ``copy-image``, ``glance-direct``, ``web-download``, …"""
        try:
            document = self._http.patiently("GET", "/info/import", "ask for import methods").json()
            return frozenset(document["import-methods"]["value"])
        except (Refused, KeyError, TypeError):
            return frozenset()

    # --- changing records ---

    def create(self, document: Mapping[str, Any]) -> ImageRecord:
        """Make a record with the id given in ``document``. Raises ``Conflict`` when another run has that id."""
        image_id = document["id"]
        for attempt in self._http.tries():
            try:
                answer = self._http.once("POST", "/images", f"create image {image_id}", json=dict(document))
                return ImageRecord.parse(answer.json())
            except (Unreachable, Conflict) as error:
                # A lost answer, or a repeated request that finds the first one's record.
                record = self.show(image_id)
                if record and record.properties.get(marks.RUN) == document.get(marks.RUN):
                    return record
                if isinstance(error, Conflict) or attempt == self.patience.attempts:
                    raise
        raise AssertionError("patience has at least one attempt")

    def change(self, image_id: str, change: Change) -> ImageRecord:
        """Bring an image's record to say what ``change`` says; nothing is sent when it does already."""
        for attempt in self._http.tries():
            record = self._there(image_id)
            operations = change.operations(record)
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
                return ImageRecord.parse(answer.json())
            except (Unreachable, Conflict):
                # 409: something else changed the record meanwhile; look again.
                if attempt == self.patience.attempts:
                    raise
        raise AssertionError("patience has at least one attempt")

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
            self._http.patiently("DELETE", path_of(image_id), f"delete image {image_id}")
        except NotThere:
            return Deletion.DELETED
        except Conflict:
            return Deletion.IN_USE
        except NotAllowed:
            record = self.show(image_id)
            if record is None:
                return Deletion.DELETED
            if record.is_protected:
                return Deletion.PROTECTED
            raise
        return Deletion.DELETED

    # --- members of a shared image ---

    def members(self, image_id: str) -> dict[str, str]:
        """The projects a shared image is for, each with its status (pending, accepted, rejected)."""
        document = self._http.patiently(
            "GET", f"{path_of(image_id)}/members", f"list members of image {image_id}"
        ).json()
        found = document.get("members", ()) if isinstance(document, dict) else ()
        return {str(each["member_id"]): str(each["status"]) for each in found}

    def add_member(self, image_id: str, project: str) -> None:
        """Share an image with ``project``, which may be a member already."""
        with contextlib.suppress(Conflict):
            self._http.patiently(
                "POST",
                f"{path_of(image_id)}/members",
                f"share image {image_id} with {project}",
                json={"member": project},
            )

    def accept_member(self, image_id: str, project: str) -> bool:
        """Accept a shared image for ``project``; whether this user may do that."""
        path = f"{path_of(image_id)}/members/{quote(project, safe='')}"
        try:
            self._http.patiently("PUT", path, f"accept image {image_id}", json={"status": "accepted"})
        except (NotAllowed, NotThere):
            return False
        return True

    def remove_member(self, image_id: str, project: str) -> None:
        """Share an image with ``project`` no longer."""
        with contextlib.suppress(NotThere):
            self._http.patiently(
                "DELETE", f"{path_of(image_id)}/members/{quote(project, safe='')}", f"unshare image {image_id}"
            )

    def _there(self, image_id: str) -> ImageRecord:
        record = self.show(image_id)
        if record is None:
            raise NotThere(f"image {image_id} is gone from cloud {self.cloud}", status=404)
        return record


def path_of(image_id: str) -> str:
    """An image's path; ids come from outside, too."""
    return f"/images/{quote(image_id, safe='')}"
