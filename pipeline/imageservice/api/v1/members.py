"""``/v1/images/{id}/members`` and ``/v1/shared-images/{project}``: sharing without asking."""

from __future__ import annotations

from typing import Any

import falcon
from sqlalchemy import Connection

from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.lookup import find_image
from pipeline.imageservice.api.resource import Resource, answer_json, has_body, read_json
from pipeline.imageservice.catalog import members
from pipeline.imageservice.catalog.model import Image, Visibility
from pipeline.imageservice.errors import Forbidden, Invalid, LimitExceeded, NotFound

_LONGEST = 255


class Members(Resource):
    """All members of an image."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """The members; a consumer sees itself."""
        caller = caller_of(req)
        with self.service.database.read() as connection:
            image = find_image(connection, self.service.policy, caller, image_id)
            found = members.of_image(connection, image.id)
        owner = caller.is_admin or caller.project == image.owner
        shown = [member for member in found if owner or member.member == caller.project]
        answer_json(resp, {"members": [{"member_id": member.member, "can_share": False} for member in shown]})

    def on_put(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Replace the whole list."""
        caller = caller_of(req)
        context_of(req).image_id = image_id
        wanted = _memberships(read_json(req, self.service.settings.api.max_body))

        def work(connection: Connection) -> None:
            image = find_image(connection, self.service.policy, caller, image_id, lock=True)
            self.service.policy.require(caller, "add_member", image)
            self.service.policy.require(caller, "delete_member", image)
            _require_shared(image)
            _check_count(len(wanted), self.service.settings.quotas.image_members)
            there = {member.member for member in members.of_image(connection, image.id)}
            for project in there - set(wanted):
                members.remove(connection, image.id, project)
            for project in wanted:
                if project not in there:
                    members.add(connection, image, project)

        self.service.database.write(work)
        resp.status = 204


class OneMember(Resource):
    """One membership."""

    def on_put(self, req: falcon.Request, resp: falcon.Response, image_id: str, member_id: str) -> None:
        """Share the image with a project."""
        caller = caller_of(req)
        context_of(req).image_id = image_id
        if has_body(req):
            read_json(req, self.service.settings.api.max_body)  # can_share means nothing any more
        if len(member_id) > _LONGEST:
            raise Invalid(f"A project's id has {_LONGEST} characters at the most")

        def work(connection: Connection) -> None:
            image = find_image(connection, self.service.policy, caller, image_id, lock=True)
            self.service.policy.require(caller, "add_member", image)
            _require_shared(image)
            if members.find(connection, image.id, member_id) is None:
                _check_count(members.count(connection, image.id) + 1, self.service.settings.quotas.image_members)
                members.add(connection, image, member_id)

        self.service.database.write(work)
        resp.status = 204

    def on_delete(self, req: falcon.Request, resp: falcon.Response, image_id: str, member_id: str) -> None:
        """Stop sharing the image with a project."""
        caller = caller_of(req)
        context_of(req).image_id = image_id

        def work(connection: Connection) -> None:
            image = find_image(connection, self.service.policy, caller, image_id, lock=True)
            self.service.policy.require(caller, "delete_member", image)
            if not members.remove(connection, image.id, member_id):
                raise NotFound(f"{member_id[:64]} is not a member of the image {image_id}.")

        self.service.database.write(work)
        resp.status = 204


class SharedImages(Resource):
    """``GET /v1/shared-images/{project}``."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, project: str) -> None:
        """What others share with a project, for that project and for administrators."""
        caller = caller_of(req)
        if not caller.is_admin and caller.project != project:
            raise Forbidden("What is shared with a project is for that project to see.")
        with self.service.database.read() as connection:
            ids = members.images_of(connection, project)
        answer_json(resp, {"shared_images": [{"image_id": one, "can_share": False} for one in ids]})


def _memberships(body: Any) -> list[str]:
    listed = body.get("memberships") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        raise Invalid('Expected a JSON object: {"memberships": [{"member_id": …}]}')
    found: list[str] = []
    for entry in listed:
        project = entry.get("member_id") if isinstance(entry, dict) else None
        if not isinstance(project, str) or not project.strip() or len(project) > _LONGEST:
            raise Invalid("Each membership names its member_id, a text of 1 to 255 characters")
        found.append(project)
    return list(dict.fromkeys(found))


def _require_shared(image: Image) -> None:
    if image.visibility is not Visibility.SHARED:
        raise Forbidden("Only shared images have members.")


def _check_count(count: int, most: int) -> None:
    if 0 <= most < count:
        raise LimitExceeded(f"The image can be shared with {most} projects, not with {count}.")
