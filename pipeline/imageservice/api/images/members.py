"""Answer ``/v2/images/{id}/members``: with which projects an image is shared."""

from __future__ import annotations

from typing import Any

import falcon

from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.documents import member_document
from pipeline.imageservice.api.resource import SMALL_BODY, Resource, answer_json, read_json, refuse_body
from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.lifecycle.records.members import (
    add_member,
    answer_membership,
    list_members,
    remove_member,
    show_member,
)
from pipeline.imageservice.model.images import MemberStatus

_LONGEST = 255


class Members(Resource):
    """All members of an image: list and add."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Answer with the members the caller may know of: all for the owner, its own membership for a consumer."""
        refuse_body(req)
        found = list_members(self.service, caller_of(req), image_id)
        answer_json(resp, {"members": [member_document(member) for member in found], "schema": "/v2/schemas/members"})

    def on_post(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Share the image with a project."""
        project = _text(read_json(req, SMALL_BODY), "member")
        context_of(req).image_id = image_id
        answer_json(resp, member_document(add_member(self.service, caller_of(req), image_id, project)))


class OneMember(Resource):
    """One membership: show, answer, end."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str, member_id: str) -> None:
        """Answer with the membership. Whoever may not know of it is told that there is none."""
        refuse_body(req)
        answer_json(resp, member_document(show_member(self.service, caller_of(req), image_id, member_id)))

    def on_put(self, req: falcon.Request, resp: falcon.Response, image_id: str, member_id: str) -> None:
        """Take what the member says of the image."""
        status = _status(read_json(req, SMALL_BODY))
        context_of(req).image_id = image_id
        member = answer_membership(self.service, caller_of(req), image_id, member_id, status)
        answer_json(resp, member_document(member))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, image_id: str, member_id: str) -> None:
        """Stop sharing with the project."""
        refuse_body(req)
        context_of(req).image_id = image_id
        remove_member(self.service, caller_of(req), image_id, member_id)
        resp.status = 204


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
