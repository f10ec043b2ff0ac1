"""Refuse images that consumers would confuse: who asks for the newest, by name or properties, must find exactly one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from pipeline.base.errors import PipelineError
from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.errors import CloudError
from pipeline.publishing.cloud.ownership_marker import ImagePart, ImageState
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.cloud.records import ImageRecords
from pipeline.publishing.plan.desired import DesiredImage
from pipeline.recipes.model.product import Visibility
from pipeline.recipes.model.recipe import Recipe

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
            problems.append(f"{both} are both public images of {_system_text(one.image_properties)}")
    if problems:
        raise PipelineError(
            "whoever asks for the newest image must find exactly one",
            details=problems,
            hint="give them other names, or let only one of them have publish.visibility: public",
        )


def refuse(api: ImageRecords, disk: DesiredImage) -> None:
    """Raise ``PipelineError`` when we show everybody another image that a public ``disk`` would rival.

    What other projects show is theirs: it is named (``strangers``) and hinders nothing.
    """
    if disk.visibility != Visibility.PUBLIC or disk.hidden:
        return
    for record in api.shown(visibility="public", name=disk.name):
        if not record.belongs_to(disk.chain):
            raise _rival(api, record, f"bears the name {disk.name}, too")
    system = _system(disk.properties)
    if None in system:
        return
    filters = {name: disk.properties[name] for name in SYSTEM}
    for record in api.shown(visibility="public", **filters, **{ownership_marker.PUBLISHER: disk.chain.publisher}):
        if record.recipe != disk.chain.recipe and record.part is ImagePart.DISK and record.state is ImageState.NEWEST:
            raise _rival(
                api, record, f"is the newest of recipe {record.recipe}, and of {_system_text(disk.properties)}, too"
            )


def same_name(api: ImageRecords, disk: DesiredImage) -> list[ImageRecord]:
    """Return images of ours that are shown under the image's name and are not of its chain."""
    return [record for record in api.shown(name=disk.name) if not record.belongs_to(disk.chain)]


def strangers(api: ImageRecords, images: Sequence[DesiredImage]) -> list[ImageRecord]:
    """Return other projects' images with the marks of ``images`` or the disk's name: at most a page of each kind.

    All of them are left alone; that a cloud does not tell of them stops nothing.
    """
    chain = images[-1].chain
    with contextlib.suppress(CloudError):
        found = [*marked(api, chain.publisher, chain.recipe), *api.others(name=images[-1].name)]
        return list({each.id: each for each in found}.values())
    return []


def marked(api: ImageRecords, publisher: str, recipe: str) -> list[ImageRecord]:
    """Return images of other projects with the marks of a recipe, at most a page; its locks are among them."""
    return api.others(**{ownership_marker.PUBLISHER: publisher, ownership_marker.RECIPE: recipe})


def _rival(api: ImageRecords, record: ImageRecord, why: str) -> PipelineError:
    return PipelineError(
        f"cloud {api.cloud} shows everybody image {record.id}, which {why}: consumers could not tell them apart",
        hint=f"openstack image set --hidden {record.id}, or publish under another name",
    )


def _is_public(recipe: Recipe) -> bool:
    return recipe.publish.visibility is Visibility.PUBLIC and not recipe.publish.hidden


def _system(properties: Mapping[str, str]) -> tuple[str | None, ...]:
    return tuple(properties.get(name) for name in SYSTEM)


def _system_text(properties: Mapping[str, str]) -> str:
    return " ".join(properties.get(name) or "unknown" for name in SYSTEM)
