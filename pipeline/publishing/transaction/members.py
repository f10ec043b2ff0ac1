"""Share an image with projects, and no longer with those the recipe has dropped."""

from __future__ import annotations

from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.patch import RecordPatch
from pipeline.publishing.plan.sharing import Sharing


def share(api: ImageApi, image: str, desired: Sharing) -> tuple[str, ...]:
    """Do it; return the members who still have to accept the image.

    Only shared images have members, so that the image becomes shared first; what is hidden stays hidden. Where this
    user may accept for others (administrators may), members are accepted at once; else they accept themselves.
    """
    # The mark goes first, and names both: whoever goes on after a crash knows whom we let in.
    mark = {ownership_marker.MEMBERS: ",".join(sorted(desired.desired | desired.before))}
    api.patch(image, RecordPatch({"visibility": "shared"}, mark))
    for project in desired.add:
        api.add_member(image, project)
    waiting = tuple(project for project in desired.accept if not api.accept_member(image, project))
    for project in desired.remove:
        api.remove_member(image, project)
    api.patch(image, RecordPatch(properties={ownership_marker.MEMBERS: ",".join(sorted(desired.desired))}))
    return waiting
