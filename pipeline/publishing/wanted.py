"""What an image in a cloud should be: one file, one name, and what its record says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.publishing import marks
from pipeline.publishing.change import Change
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.marks import Chain, State

HELD = {"visibility": "private", "os_hidden": True, "protected": False}


@dataclass(frozen=True)
class Wanted:
    """The image that should be the newest of its chain.

    ``path`` holds ``size`` bytes with digest ``sha512``; ``properties`` are those to publish, the signature over
    exactly these bytes among them. ``version`` stands in the dated name the image bears before and after it is the
    newest. ``members`` are the projects a shared image is for. ``certificate`` is the id under which this machine has
    the signature's certificate, when the cloud knows it by another.
    """

    chain: Chain
    name: str
    version: str
    path: Path
    size: int
    sha512: str
    disk_format: str
    container_format: str
    visibility: str = "private"
    hidden: bool = False
    protected: bool = False
    tags: frozenset[str] = frozenset()
    min_disk: int = 0
    min_ram: int = 0
    properties: Mapping[str, str] = field(default_factory=dict)
    members: frozenset[str] = frozenset()
    certificate: str = ""

    @property
    def dated_name(self) -> str:
        """The name while it is not the newest."""
        return dated_name(self.name, self.version)

    def record(self, serial: int, run: str, runner: str) -> dict[str, Any]:
        """The document that makes the image: hidden, private, with everything that is not shown yet."""
        return {
            **self.properties,
            "id": self.chain.image_id(serial),
            "name": self.dated_name,
            "disk_format": self.disk_format,
            "container_format": self.container_format,
            "min_disk": self.min_disk,
            "min_ram": self.min_ram,
            **HELD,
            **self.chain.filters,
            marks.SERIAL: str(serial),
            marks.STATE: str(State.UPLOADING),
            marks.SHA512: self.sha512,
            marks.VERSION: self.version,
            marks.RUN: run,
            marks.RUNNER: runner,
            marks.PROPERTIES: ",".join(sorted(self.properties)),
        }

    def shown(self, moment: str) -> Change:
        """The one change that makes the image the newest, ``moment`` being now."""
        return Change(
            {
                "name": self.name,
                "visibility": self.visibility,
                "os_hidden": self.hidden,
                "protected": self.protected,
                "tags": self.tags,
            },
            {marks.STATE: str(State.NEWEST), marks.SWITCHED_AT: moment},
            frozenset({marks.HELD_BECAUSE, marks.SUPERSEDED_AT}),
        )

    def described(self, record: ImageRecord) -> Change:
        """The change that makes the record say what is wanted, apart from what is shown to whom."""
        before = {name for name in record.properties.get(marks.PROPERTIES, "").split(",") if name}
        return Change(
            {"min_disk": self.min_disk, "min_ram": self.min_ram},
            {**self.properties, marks.PROPERTIES: ",".join(sorted(self.properties))},
            frozenset(before - set(self.properties)),
        )

    def refreshed(self, record: ImageRecord) -> Change:
        """The change that brings the newest image's record in line, its bytes being right already."""
        described = self.described(record)
        shown = {
            "name": self.name,
            "visibility": self.visibility,
            "os_hidden": self.hidden,
            # Somebody may have protected the image by hand: that stays.
            "protected": self.protected or record.is_protected,
            "tags": self.tags,
        }
        return Change({**shown, **described.fields}, described.properties, described.remove)

    @property
    def signature(self) -> dict[str, str]:
        """The ``img_signature*`` properties."""
        return {name: value for name, value in self.properties.items() if name.startswith("img_signature")}

    def matches(self, record: ImageRecord) -> bool:
        """Whether ``record`` holds these bytes in this format."""
        return record.sha512 == self.sha512 and (record.disk_format, record.container_format) == (
            self.disk_format,
            self.container_format,
        )


def dated_name(name: str, version: str) -> str:
    """The name of an image that is not the newest; at most the 255 characters the API allows."""
    return f"{name[: 254 - len(version)]}-{version}"


def retired(record: ImageRecord, state: State, moment: str, *, drop_protection: bool) -> Change:
    """The change that takes an image off the stage: dated name, hidden; its visibility stays for those who use it.

    ``drop_protection``: the recipe protects its newest image, so that the protection is ours to take.
    """
    name = record.name if record.bears_date else dated_name(record.name, record.version)
    fields: dict[str, Any] = {"name": name, "os_hidden": True}
    if drop_protection:
        fields["protected"] = False
    properties = {marks.STATE: str(state)}
    if marks.SUPERSEDED_AT not in record.properties:
        properties[marks.SUPERSEDED_AT] = moment
    return Change(fields, properties)


def restored(record: ImageRecord) -> Change:
    """The change that makes an image the newest again, as ``record`` described it when it was."""
    fields = {
        "name": record.name,
        "visibility": record.visibility,
        "os_hidden": record.is_hidden,
        "protected": record.is_protected,
        "tags": record.tags,
    }
    return Change(fields, {marks.STATE: str(State.NEWEST)}, frozenset({marks.SUPERSEDED_AT}))
