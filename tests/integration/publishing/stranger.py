"""A member of another project, who writes on images of its own whatever it likes."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.ownership_marker import Chain, ImageState
from pipeline.publishing.cloud.record import ImageRecord
from tests.environments.imageservice import ImageService

_BYTES = b"not what you think" * 500


@dataclass
class Stranger:
    """``bob`` on a service. What it makes is remembered as the service told it last."""

    service: ImageService
    user: str = "bob"
    made: dict[str, dict[str, Any]] = field(default_factory=dict)

    def forge(
        self,
        chain: Chain,
        state: ImageState = ImageState.NEWEST,
        *,
        data: bytes = b"",
        of: ImageRecord | None = None,
        **more: Any,
    ) -> str:
        """An image with the marks of ``chain``, or with everything that ``of`` has; its id."""
        marks = dict(of.properties) if of else {}
        marks = {name: value for name, value in marks.items() if not name.startswith(("img_signature", "os_glance"))}
        given: dict[str, Any] = {
            "name": chain.recipe,
            "visibility": "shared",
            **chain.filters,
            ownership_marker.SERIAL: "99",
            ownership_marker.VERSION: "20300101T000000Z",
            ownership_marker.VERIFIED_AT: "2026-11-01T00:00:00Z",
            ownership_marker.SWITCHED_AT: "2026-11-01T00:00:00Z",
            ownership_marker.RUNNER: str(uuid.uuid4()),
            **marks,
            ownership_marker.STATE: str(state),
            **more,
        }
        image = self.service.create(self.user, **given)
        if data:
            answer = self.service.upload(image, data, self.user)
            assert answer.status_code == 204, answer.text
        return self._remember(image)

    def squat(self, chain: Chain) -> str:
        """A lock that nobody ever gives back, hidden as ours are."""
        marks: dict[str, Any] = {ownership_marker.PART: "lock", ownership_marker.RUN: "x", "pipeline_beat": "0"}
        return self.forge(chain, name=f"{chain.recipe}-lock", visibility="private", os_hidden=True, **marks)

    def use_up(self, chain: Chain, serials: range) -> None:
        """Make images with the ids that publications get, and delete them: such ids are never free again."""
        for serial in serials:
            image = self.service.create(self.user, id=chain.image_id(serial))
            self.service.request("DELETE", f"/v2/images/{image}", self.user)

    def check(self) -> None:
        """Nothing that it made was changed or deleted by anybody."""
        for image, document in self.made.items():
            assert self.service.show(image, self.user) == document

    def clear(self) -> None:
        """Take everything away."""
        for image in self.made:
            self.service.request("DELETE", f"/v2/images/{image}", self.user)
        self.made.clear()

    def _remember(self, image: str) -> str:
        self.made[image] = self.service.show(image, self.user)
        return image


def some_bytes() -> bytes:
    """Bytes that nobody built."""
    return _BYTES
