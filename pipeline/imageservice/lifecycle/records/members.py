"""Share images with projects: who may know of a membership, make it, answer it, end it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.images import members
from pipeline.imageservice.errors import Forbidden, LimitExceeded, NotFound
from pipeline.imageservice.lifecycle.records.visibility import find_image
from pipeline.imageservice.model.images import Image, ImageVisibility, Member, MemberStatus
from pipeline.imageservice.service import Service


def list_members(service: Service, caller: Caller, image_id: str, *, shared_only: bool = True) -> list[Member]:
    """Find the members the caller may know of: all for the owner, its own membership for a consumer.

    Raises ``NotFound``, and with ``shared_only`` ``Forbidden`` for an image of another visibility.
    """
    with service.database.read() as connection:
        image = find_image(connection, service.policy, caller, image_id)
        if shared_only:
            _require_shared(image)
        found = members.of_image(connection, image.id)
    return [member for member in found if _may_see(service, caller, image, member, "get_members")]


def show_member(service: Service, caller: Caller, image_id: str, project: str) -> Member:
    """Look at one membership. Raises ``NotFound``, also for one that the caller may not know of."""
    with service.database.read() as connection:
        image = find_image(connection, service.policy, caller, image_id)
        member = members.find(connection, image.id, project)
    hidden = member is None or image.visibility is not ImageVisibility.SHARED
    if member is None or hidden or not _may_see(service, caller, image, member, "get_member"):
        raise NotFound(f"{project} not found in the member list of the image {image_id}.")
    return member


def add_member(service: Service, caller: Caller, image_id: str, project: str, *, exist_ok: bool = False) -> Member:
    """Share an image with a project, pending its consent.

    Raises ``NotFound``, ``Forbidden``, ``LimitExceeded``, and ``Duplicate`` for a member unless ``exist_ok``.
    """

    def work(connection: Connection) -> tuple[Member, bool]:
        image = _locked(connection, service, caller, image_id)
        service.policy.require(caller, "add_member", image)
        known = members.find(connection, image.id, project)
        if known is not None and exist_ok:
            return known, False
        if known is None:
            _check_count(service, members.count(connection, image.id) + 1)
        return members.add(connection, image, project), True

    member, is_new = service.database.write(work)
    if is_new:
        service.notifier.member("image.member.create", member, caller)
    return member


def set_members(service: Service, caller: Caller, image_id: str, projects: Sequence[str]) -> None:
    """Share an image with exactly these projects. Raises ``NotFound``, ``Forbidden``, ``LimitExceeded``."""

    def work(connection: Connection) -> tuple[list[Member], list[Member]]:
        image = _locked(connection, service, caller, image_id)
        service.policy.require(caller, "add_member", image)
        service.policy.require(caller, "delete_member", image)
        _check_count(service, len(projects))
        known = {member.member: member for member in members.of_image(connection, image.id)}
        ended = [member for project, member in known.items() if project not in projects]
        for member in ended:
            members.remove(connection, image.id, member.member)
        return ended, [members.add(connection, image, project) for project in projects if project not in known]

    ended, added = service.database.write(work)
    for member in ended:
        service.notifier.member("image.member.delete", member, caller, deleted=True)
    for member in added:
        service.notifier.member("image.member.create", member, caller)


def answer_membership(service: Service, caller: Caller, image_id: str, project: str, status: MemberStatus) -> Member:
    """Set what a member says of the image. Raises ``NotFound``, ``Forbidden``."""

    def work(connection: Connection) -> Member:
        image = _locked(connection, service, caller, image_id)
        member = _known(connection, service, caller, image, project)
        service.policy.require(caller, "modify_member", _target(image, member.member))
        return members.set_status(connection, member, status)

    member = service.database.write(work)
    service.notifier.member("image.member.update", member, caller)
    return member


def remove_member(service: Service, caller: Caller, image_id: str, project: str, *, shared_only: bool = True) -> None:
    """Stop sharing with a project. Raises as ``list_members``, and ``NotFound`` when it is no member."""

    def work(connection: Connection) -> Member:
        image = _locked(connection, service, caller, image_id, shared_only=shared_only)
        service.policy.require(caller, "delete_member", _target(image, project))
        member = _known(connection, service, caller, image, project)
        members.remove(connection, image.id, member.member)
        return member

    member = service.database.write(work)
    service.notifier.member("image.member.delete", member, caller, deleted=True)


def shared_with(service: Service, caller: Caller, project: str) -> list[str]:
    """Find the ids of the images that others share with a project, for that project and for administrators."""
    if not caller.is_admin and caller.project != project:
        raise Forbidden("What is shared with a project is for that project to see.")
    service.policy.require(caller, "get_members", {"project_id": project, "member_id": project})
    with service.database.read() as connection:
        return members.images_of(connection, project)


def _locked(
    connection: Connection, service: Service, caller: Caller, image_id: str, *, shared_only: bool = True
) -> Image:
    image = find_image(connection, service.policy, caller, image_id, lock=True)
    if shared_only:
        _require_shared(image)
    return image


def _require_shared(image: Image) -> None:
    if image.visibility is not ImageVisibility.SHARED:
        raise Forbidden("Only shared images have members.")


def _known(connection: Connection, service: Service, caller: Caller, image: Image, project: str) -> Member:
    """Return the membership, for one who may know of it: the image's owner, an administrator, the member itself."""
    member = members.find(connection, image.id, project)
    if member is None or not _may_see(service, caller, image, member, "get_member"):
        raise NotFound(f"{project[:64]} not found in the member list of the image {image.id}.")
    return member


def _may_see(service: Service, caller: Caller, image: Image, member: Member, action: str) -> bool:
    if not caller.is_admin and caller.project not in (image.owner, member.member):
        return False
    return service.policy.may(caller, action, _target(image, member.member))


def _target(image: Image, member: str) -> dict[str, Any]:
    return {
        "project_id": image.owner,
        "owner": image.owner,
        "member_id": member,
        "visibility": str(image.visibility),
        "image_id": image.id,
    }


def _check_count(service: Service, count: int) -> None:
    most = service.settings.quotas.image_members
    if 0 <= most < count:
        raise LimitExceeded(
            "The limit has been exceeded on the number of allowed image members for this image. "
            f"Attempted: {count}, Maximum: {most}"
        )
