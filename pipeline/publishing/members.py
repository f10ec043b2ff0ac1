"""Sharing an image with projects, and no longer with those the recipe has dropped."""

from __future__ import annotations

from pipeline.publishing import marks
from pipeline.publishing.change import Change
from pipeline.publishing.image_api import ImageApi
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.wanted import Wanted


def share(api: ImageApi, record: ImageRecord, wanted: Wanted) -> bool:
    """Bring an image's members in line with ``wanted``; whether that changed any. Members somebody else added stay.

    Only shared images have members, so that the image becomes shared first; what is hidden stays hidden. Where this
    user may accept for others (administrators may), members are accepted at once; else they accept themselves.
    """
    before = {name for name in record.properties.get(marks.MEMBERS, "").split(",") if name}
    if wanted.visibility != "shared" or not (wanted.members or before):
        return False
    # The mark goes first, and names both: whoever goes on after a crash knows whom we let in.
    mark = {marks.MEMBERS: ",".join(sorted(wanted.members | before))}
    api.change(record.id, Change({"visibility": "shared"}, mark))
    known = api.members(record.id)
    for project in sorted(wanted.members):
        if project not in known:
            api.add_member(record.id, project)
        if known.get(project) != "accepted":
            api.accept_member(record.id, project)
    for project in sorted((before - wanted.members) & known.keys()):
        api.remove_member(record.id, project)
    api.change(record.id, Change(properties={marks.MEMBERS: ",".join(sorted(wanted.members))}))
    return before != wanted.members or not wanted.members <= known.keys()
