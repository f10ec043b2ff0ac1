"""Sharing an image with projects, and no longer with those the recipe has dropped."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.publishing import marks
from pipeline.publishing.change import Change
from pipeline.publishing.image_api import ImageApi
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.wanted import Wanted


@dataclass(frozen=True)
class Shared:
    """``changed``: whether the members did; ``waiting``: those who still have to accept the image."""

    changed: bool = False
    waiting: tuple[str, ...] = ()


def share(api: ImageApi, record: ImageRecord, wanted: Wanted) -> Shared:
    """Bring an image's members in line with ``wanted``. Members somebody else added stay.

    Only shared images have members, so that the image becomes shared first; what is hidden stays hidden. Where this
    user may accept for others (administrators may), members are accepted at once; else they accept themselves.
    """
    before = {name for name in record.properties.get(marks.MEMBERS, "").split(",") if name}
    if wanted.visibility != "shared" or not (wanted.members or before):
        return Shared()
    # The mark goes first, and names both: whoever goes on after a crash knows whom we let in.
    mark = {marks.MEMBERS: ",".join(sorted(wanted.members | before))}
    api.change(record.id, Change({"visibility": "shared"}, mark))
    known = api.members(record.id)
    waiting = []
    for project in sorted(wanted.members):
        if project not in known:
            api.add_member(record.id, project)
        # Who refused an image has decided: it stays refused.
        if known.get(project, "pending") == "pending" and not api.accept_member(record.id, project):
            waiting.append(project)
    for project in sorted((before - wanted.members) & known.keys()):
        api.remove_member(record.id, project)
    api.change(record.id, Change(properties={marks.MEMBERS: ",".join(sorted(wanted.members))}))
    return Shared(before != wanted.members or not wanted.members <= known.keys(), tuple(waiting))
