"""Images that consumers would confuse: whoever asks for the newest, by name or by properties, must find exactly one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

from pipeline.base.errors import PipelineError
from pipeline.publishing import marks
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.image_records import ImageRecords
from pipeline.publishing.marks import Part, State
from pipeline.publishing.wanted import Wanted
from pipeline.recipes.model import Recipe
from pipeline.recipes.product import Visibility

SYSTEM = ("os_distro", "os_version", "architecture")


def require_distinct(recipes: Iterable[Recipe]) -> None:
    """Raise ``PipelineError`` when two recipes publish under one name, or both show the same system to everybody."""
    problems = []
    for one, other in combinations(recipes, 2):
        if one.name == other.name:
            continue
        both = f"{one.name} and {other.name}"
        if one.image_name == other.image_name:
            problems.append(f"{both} are both published as {one.image_name}")
        elif _is_public(one) and _is_public(other) and _system(one.image_properties) == _system(other.image_properties):
            problems.append(f"{both} are both public images of {_told(one.image_properties)}")
    if problems:
        raise PipelineError(
            "whoever asks for the newest image must find exactly one",
            details=problems,
            hint="give them other names, or let only one of them have publish.visibility: public",
        )


def refuse(api: ImageRecords, disk: Wanted) -> None:
    """Raise ``PipelineError`` when the cloud shows everybody another image that a public ``disk`` would rival."""
    if disk.visibility != Visibility.PUBLIC or disk.hidden:
        return
    for record in api.visible(visibility="public", name=disk.name):
        if not record.belongs_to(disk.chain):
            raise _rival(api, record, f"bears the name {disk.name}, too")
    system = _system(disk.properties)
    if None in system:
        return
    filters = {name: disk.properties[name] for name in SYSTEM}
    for record in api.visible(visibility="public", **filters, **{marks.PUBLISHER: disk.chain.publisher}):
        if record.recipe != disk.chain.recipe and record.part is Part.DISK and record.state is State.NEWEST:
            raise _rival(api, record, f"is the newest of recipe {record.recipe}, and of {_told(disk.properties)}, too")


def same_name(api: ImageRecords, disk: Wanted) -> list[ImageRecord]:
    """What the cloud shows this user under the image's name and is not of its chain."""
    return [record for record in api.visible(name=disk.name) if not record.belongs_to(disk.chain)]


def _rival(api: ImageRecords, record: ImageRecord, why: str) -> PipelineError:
    return PipelineError(
        f"cloud {api.cloud} shows everybody image {record.id}, which {why}: consumers could not tell them apart",
        hint=f"openstack image set --hidden {record.id}, or publish under another name",
    )


def _is_public(recipe: Recipe) -> bool:
    return recipe.publish.visibility is Visibility.PUBLIC and not recipe.publish.hidden


def _system(properties: Mapping[str, str]) -> tuple[str | None, ...]:
    return tuple(properties.get(name) for name in SYSTEM)


def _told(properties: Mapping[str, str]) -> str:
    return " ".join(properties.get(name) or "unknown" for name in SYSTEM)
