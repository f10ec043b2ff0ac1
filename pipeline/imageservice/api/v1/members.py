"""Answer ``/v1/images/{id}/members`` and ``/v1/shared-images/{project}``: sharing without asking."""

from __future__ import annotations

from typing import Any

import falcon

from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.resource import SMALL_BODY, Resource, answer_json, has_body, read_json
from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.lifecycle.records.members import (
    add_member,
    list_members,
    remove_member,
    set_members,
    shared_with,
)

_LONGEST = 255


class V1Members(Resource):
    """All members of an image."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Answer with the members; a consumer sees itself."""
        found = list_members(self.service, caller_of(req), image_id, shared_only=False)
        answer_json(resp, {"members": [{"member_id": member.member, "can_share": False} for member in found]})

    def on_put(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Replace the whole list."""
        context_of(req).image_id = image_id
        projects = _memberships(read_json(req, SMALL_BODY))
        set_members(self.service, caller_of(req), image_id, projects)
        resp.status = 204


class V1Member(Resource):
    """One membership."""

    def on_put(self, req: falcon.Request, resp: falcon.Response, image_id: str, member_id: str) -> None:
        """Share the image with a project."""
        caller = caller_of(req)
        context_of(req).image_id = image_id
        if has_body(req):
            read_json(req, SMALL_BODY)  # can_share means nothing any more
        if len(member_id) > _LONGEST:
            raise Invalid(f"A project's id has {_LONGEST} characters at the most")
        add_member(self.service, caller, image_id, member_id, exist_ok=True)
        resp.status = 204

    def on_delete(self, req: falcon.Request, resp: falcon.Response, image_id: str, member_id: str) -> None:
        """Stop sharing the image with a project."""
        context_of(req).image_id = image_id
        remove_member(self.service, caller_of(req), image_id, member_id, shared_only=False)
        resp.status = 204


class V1SharedImages(Resource):
    """``GET /v1/shared-images/{project}``."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, project: str) -> None:
        """Answer with what others share with a project, for that project and for administrators."""
        ids = shared_with(self.service, caller_of(req), project)
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
