"""``/v2/images/{id}/members``: with which projects an image is shared."""

from __future__ import annotations

from typing import Any

import falcon
from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.documents import member_document
from pipeline.imageservice.api.lookup import find_image
from pipeline.imageservice.api.resource import Resource, answer_json, read_json, refuse_body
from pipeline.imageservice.catalog import members
from pipeline.imageservice.catalog.model import Image, Member, MemberStatus, Visibility
from pipeline.imageservice.errors import Forbidden, Invalid, LimitExceeded, NotFound
from pipeline.imageservice.service import Service

_LONGEST = 255


class Members(Resource):
    """All members of an image: list and add."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """The members the caller may know of: all for the owner, its own membership for a consumer."""
        refuse_body(req)
        caller = caller_of(req)
        with self.service.database.read() as connection:
            image = _shared(self.service, connection, caller, image_id)
            found = members.of_image(connection, image.id)
        shown = [member for member in found if _may_see(self.service, caller, image, member, "get_members")]
        document = [member_document(member) for member in shown]
        answer_json(resp, {"members": document, "schema": "/v2/schemas/members"})

    def on_post(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Share the image with a project."""
        caller = caller_of(req)
        project = _text(read_json(req, self.service.settings.api.max_body), "member")
        context_of(req).image_id = image_id

        def work(connection: Connection) -> Member:
            image = _shared(self.service, connection, caller, image_id, lock=True)
            self.service.policy.require(caller, "add_member", image)
            most = self.service.settings.quotas.image_members
            count = members.count(connection, image.id) + 1
            if 0 <= most < count and members.find(connection, image.id, project) is None:
                raise LimitExceeded(
                    "The limit has been exceeded on the number of allowed image members for this image. "
                    f"Attempted: {count}, Maximum: {most}"
                )
            return members.add(connection, image, project)

        member = self.service.database.write(work)
        self.service.notifier.member("image.member.create", member, caller)
        answer_json(resp, member_document(member))


class OneMember(Resource):
    """One membership: show, answer, end."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str, member_id: str) -> None:
        """The membership. Whoever may not know of it is told that there is none."""
        refuse_body(req)
        caller = caller_of(req)
        with self.service.database.read() as connection:
            image = find_image(connection, self.service.policy, caller, image_id)
            member = members.find(connection, image.id, member_id)
        hidden = member is None or image.visibility is not Visibility.SHARED
        if member is None or hidden or not _may_see(self.service, caller, image, member, "get_member"):
            raise NotFound(f"{member_id} not found in the member list of the image {image_id}.")
        answer_json(resp, member_document(member))

    def on_put(self, req: falcon.Request, resp: falcon.Response, image_id: str, member_id: str) -> None:
        """What the member says of the image."""
        caller = caller_of(req)
        status = _status(read_json(req, self.service.settings.api.max_body))
        context_of(req).image_id = image_id

        def work(connection: Connection) -> Member:
            image = _shared(self.service, connection, caller, image_id, lock=True)
            member = _known(self.service, connection, caller, image, member_id)
            self.service.policy.require(caller, "modify_member", _target(image, member.member))
            return members.set_status(connection, member, status)

        member = self.service.database.write(work)
        self.service.notifier.member("image.member.update", member, caller)
        answer_json(resp, member_document(member))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, image_id: str, member_id: str) -> None:
        """Stop sharing with the project."""
        refuse_body(req)
        caller = caller_of(req)
        context_of(req).image_id = image_id

        def work(connection: Connection) -> Member:
            image = _shared(self.service, connection, caller, image_id, lock=True)
            self.service.policy.require(caller, "delete_member", _target(image, member_id))
            member = _known(self.service, connection, caller, image, member_id)
            members.remove(connection, image.id, member.member)
            return member

        member = self.service.database.write(work)
        self.service.notifier.member("image.member.delete", member, caller, deleted=True)
        resp.status = 204


def _shared(service: Service, connection: Connection, caller: Caller, image_id: str, *, lock: bool = False) -> Image:
    image = find_image(connection, service.policy, caller, image_id, lock=lock)
    if image.visibility is not Visibility.SHARED:
        raise Forbidden("Only shared images have members.")
    return image


def _known(service: Service, connection: Connection, caller: Caller, image: Image, member_id: str) -> Member:
    """The membership, for one who may know of it: the image's owner, an administrator, the member itself."""
    member = members.find(connection, image.id, member_id)
    if member is None or not _may_see(service, caller, image, member, "get_member"):
        raise NotFound(f"{member_id[:64]} not found in the member list of the image {image.id}.")
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


def _text(body: Any, name: str) -> str:
    if not isinstance(body, dict) or name not in body:
        raise Invalid(f'Expected a JSON object: {{"{name}": …}}')
    value = body[name]
    if not isinstance(value, str) or not value.strip():
        raise Invalid(f"{name} must be a text that is not empty")
    if len(value) > _LONGEST:
        raise Invalid(f"{name} is longer than {_LONGEST} characters")
    return value


def _status(body: Any) -> MemberStatus:
    text = _text(body, "status")
    try:
        return MemberStatus(text)
    except ValueError:
        raise Invalid(f"Unknown status {text[:64]!r}; use {', '.join(MemberStatus)}") from None
