"""Every way by which an image's data comes into the image service, or into what is published, as one call each."""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.publishing.cloud.ownership_marker import ImagePart
from pipeline.publishing.sources.files import ReadyFiles
from pipeline.publishing.sources.unpacked import unpacked
from pipeline.recipes.model.overrides import with_source
from pipeline.steps.image import InstallImage
from tests.environments.daemon import wait_until
from tests.environments.imageservice import ImageService
from tests.guest.conftest import context_for, tiny_recipe
from tests.integration.imageservice.importing.conftest import ask, leftovers, stage
from tests.integration.imageservice.importing.web import Web
from tests.unit.image.corpus import Hostile

_OCTETS = {"Content-Type": "application/octet-stream"}
_BATCH = 40
_PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}


@dataclass(frozen=True)
class Place:
    """Where images are tried: a service, one that converts them, a web server they lie on, a scratch folder."""

    service: ImageService
    converting: ImageService
    origin: Web
    folder: Path

    def on_the_web(self, data: bytes) -> str:
        """The URL of a file."""
        name = f"{uuid.uuid4().hex}.img"
        self.origin.files[name] = data
        return self.origin.url(f"/{name}")


# The answer of each image: why it was refused, or ``None`` when it was taken.
Way = Callable[[Place, list[Hostile]], list[str | None]]


def _refusal(answer: Any) -> str | None:
    return None if answer.status_code < 300 else f"{answer.status_code} {' '.join(answer.text.split())}"


def _at_once(attempt: Callable[[Place, Hostile], Any]) -> Way:
    """A way whose answer tells at once. Nothing of what is refused may be left."""

    def way(place: Place, images: list[Hostile]) -> list[str | None]:
        answers = []
        for image in images:
            before = set(place.service.files())
            answers.append(_refusal(attempt(place, image)))
            left = set(place.service.files()) - before
            assert not left or answers[-1] is None, (image, left)
        return answers

    return way


def _upload(place: Place, image: Hostile) -> Any:
    return place.service.upload(place.service.create(disk_format=image.declared), image.path.read_bytes())


def _stage(place: Place, image: Hostile) -> Any:
    return stage(place.service, place.service.create(disk_format=image.declared), image.path.read_bytes())


def _patch(operation: Callable[[str], Mapping[str, Any]]) -> Callable[[Place, Hostile], Any]:
    def attempt(place: Place, image: Hostile) -> Any:
        url = place.on_the_web(image.path.read_bytes())
        path = f"/v2/images/{place.service.create(disk_format=image.declared)}"
        return place.service.request("PATCH", path, headers=_PATCH, json=[operation(url)])

    return attempt


def _format_in_the_same_patch(place: Place, image: Hostile) -> Any:
    """Of a container in which nobody looks for a disk, until this very patch."""
    url = place.on_the_web(image.path.read_bytes())
    path = f"/v2/images/{place.service.create(disk_format='iso', container_format='ova')}"
    operations = [
        {"op": "add", "path": "/locations/-", "value": {"url": url, "metadata": {}}},
        {"op": "replace", "path": "/container_format", "value": "bare"},
        {"op": "replace", "path": "/disk_format", "value": image.declared},
    ]
    return place.service.request("PATCH", path, headers=_PATCH, json=operations)


def _old(image: Hostile, **more: str) -> dict[str, str]:
    given = {"name": "x", "disk_format": image.declared, "container_format": "bare", **more}
    return {f"x-image-meta-{name}": value for name, value in given.items()}


def _old_post(place: Place, image: Hostile) -> Any:
    headers = {**_old(image), **_OCTETS}
    return place.service.request("POST", "/v1/images", headers=headers, data=image.path.read_bytes())


def _old_put(place: Place, image: Hostile) -> Any:
    made = place.service.request("POST", "/v1/images", headers=_old(image))
    path = f"/v1/images/{made.json()['image']['id']}"
    return place.service.request("PUT", path, headers=_OCTETS, data=image.path.read_bytes())


def _old_copy(place: Place, image: Hostile) -> Any:
    headers = {**_old(image), "x-glance-api-copy-from": place.on_the_web(image.path.read_bytes())}
    return place.service.request("POST", "/v1/images", headers=headers)


def _old_location(place: Place, image: Hostile) -> Any:
    headers = _old(image, location=place.on_the_web(image.path.read_bytes()))
    return place.service.request("POST", "/v1/images", headers=headers)


def _by_task(begin: Callable[[Place, ImageService, Hostile], str], *, converts: bool = False) -> Way:
    """A way that a task of the image ends. ``begin`` returns the image's id."""

    def way(place: Place, images: list[Hostile]) -> list[str | None]:
        service = place.converting if converts else place.service
        answers: list[str | None] = []
        for start in range(0, len(images), _BATCH):
            ids = [begin(place, service, image) for image in images[start : start + _BATCH]]
            answers += [_ended(service, image_id) for image_id in ids]
        return answers

    return way


def _ended(service: ImageService, image_id: str) -> str | None:
    def task() -> dict[str, Any]:
        found: dict[str, Any] = service.request("GET", f"/v2/images/{image_id}/tasks").json()["tasks"][0]
        return found

    wait_until(lambda: task()["status"] in ("success", "failure"), "the task is over")
    if task()["status"] == "success":
        return None
    assert service.show(image_id)["status"] == "queued"
    assert leftovers(service, image_id) == []
    return str(task()["message"])


def _web_download(place: Place, service: ImageService, image: Hostile) -> str:
    return _download(place, service, image, image.path.read_bytes())


def _packed(place: Place, service: ImageService, image: Hostile) -> str:
    return _download(place, service, image, gzip.compress(image.path.read_bytes(), 1))


def _download(place: Place, service: ImageService, image: Hostile, data: bytes) -> str:
    image_id = service.create(disk_format=image.declared)
    answer = ask(service, image_id, "web-download", uri=place.on_the_web(data))
    assert answer.status_code == 202, answer.text
    return image_id


def _staged_as_something_else(place: Place, service: ImageService, image: Hostile) -> str:
    """Staged in a container in which nobody looks for a disk, and declared one afterwards."""
    image_id = service.create(disk_format="iso", container_format="ova")
    assert stage(service, image_id, image.path.read_bytes()).status_code == 204
    changes = [
        {"op": "replace", "path": "/container_format", "value": "bare"},
        {"op": "replace", "path": "/disk_format", "value": image.declared},
    ]
    answer = service.request("PATCH", f"/v2/images/{image_id}", headers=_PATCH, json=changes)
    assert answer.status_code == 200, answer.text
    assert ask(service, image_id, "glance-direct").status_code == 202
    return image_id


def _location(place: Place, service: ImageService, image: Hostile) -> str:
    image_id = service.create(disk_format=image.declared)
    url = place.on_the_web(image.path.read_bytes())
    answer = service.request("POST", f"/v2/images/{image_id}/locations", json={"url": url})
    assert answer.status_code == 202, answer.text
    return image_id


def _task(place: Place, images: list[Hostile]) -> list[str | None]:
    """The tasks of old, which make the image themselves."""
    answers: list[str | None] = []
    for image in images:
        fields = {"disk_format": image.declared, "container_format": "bare", "name": image.trick}
        given = {"import_from": place.on_the_web(image.path.read_bytes()), "image_properties": fields}
        made = place.service.request("POST", "/v2/tasks", "admin", json={"type": "import", "input": given})
        path = f"/v2/tasks/{made.json()['id']}"

        def ended(path: str = path) -> dict[str, Any]:
            found: dict[str, Any] = place.service.request("GET", path, "admin").json()
            return found

        wait_until(lambda ended=ended: ended()["status"] in ("success", "failure"), "the task is over")  # type: ignore[misc]
        answers.append(None if ended()["status"] == "success" else str(ended()["message"]))
    return answers


def _locally(attempt: Callable[[Place, Hostile], object]) -> Way:
    def way(place: Place, images: list[Hostile]) -> list[str | None]:
        answers: list[str | None] = []
        for image in images:
            try:
                attempt(place, image)
                answers.append(None)
            except PipelineError as error:
                answers.append(str(error))
        return answers

    return way


def _source(place: Place, image: Hostile) -> None:
    folder = place.folder / "source"
    method = {"method": "image", "supplied": "an image", "format": image.declared}
    recipe = with_source(tiny_recipe(disk={"size": "2GiB"}, install=method), image.path)
    InstallImage().run(context_for(recipe, folder))


def _offered(place: Place, image: Hostile) -> None:
    home = Home(place.folder / "home", place.folder / "cache")
    called = place.folder / f"disk.{image.declared}"
    called.unlink(missing_ok=True)
    called.symlink_to(image.path)
    with unpacked(home, {ImagePart.DISK: called}) as (files, _):
        ReadyFiles(home, "image", files).source("me", datetime(2026, 1, 1, tzinfo=UTC))


WAYS: Mapping[str, Way] = {
    "upload": _at_once(_upload),
    "stage": _at_once(_stage),
    "glance-direct, declared later": _by_task(_staged_as_something_else),
    "web-download": _by_task(_web_download),
    "web-download, converting": _by_task(_web_download, converts=True),
    "web-download, packed": _by_task(_packed, converts=True),
    "task": _task,
    "POST locations": _by_task(_location),
    "PATCH add location": _at_once(
        _patch(lambda url: {"op": "add", "path": "/locations/-", "value": {"url": url, "metadata": {}}})
    ),
    "PATCH replace locations": _at_once(
        _patch(lambda url: {"op": "replace", "path": "/locations", "value": [{"url": url, "metadata": {}}]})
    ),
    "PATCH with the formats": _at_once(_format_in_the_same_patch),
    "v1 POST": _at_once(_old_post),
    "v1 PUT": _at_once(_old_put),
    "v1 copy_from": _at_once(_old_copy),
    "v1 location": _at_once(_old_location),
    "--source": _locally(_source),
    "./inv upload": _locally(_offered),
}
