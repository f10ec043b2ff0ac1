"""Remember the project whose records this machine makes on a cloud whose token does not tell it: for plans and lists.

It is learned from a record that was just made, and used only where nothing is changed: whoever changes something learns
it anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.base import atomic, json_text
from pipeline.base.home import Home
from pipeline.publishing.cloud.errors import OwnerUnknown
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.transaction.journal import file_name


def remember(home: Home, api: ImageApi) -> None:
    """Keep the project that is known now."""
    text = json.dumps({"url": api.url, "project": api.owners.project})
    file = _file(home, api.cloud)
    if not file.is_file() or file.read_text() != text:
        atomic.write_text(file, text)


def recalled(home: Home, api: ImageApi) -> ImageApi:
    """Return the cloud, with the remembered project where its token does not tell it; good for looking only."""
    if api.owners.are_known:
        return api
    try:
        document = json_text.loads(_file(home, api.cloud).read_bytes())
        project, url = document["project"], document["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return api
    if url != api.url or not isinstance(project, str | None):
        return api
    # No project: the records that were made had no owner.
    return api.known_as(replace(api.owners, project=project, are_nobodys=project is None, is_remembered=True))


def as_nobody(api: ImageApi, marked: Sequence[ImageRecord]) -> ImageApi:
    """Return the cloud where it does not matter whose images are ours, since no image bears our marks or name.

    Raises ``OwnerUnknown`` when such images, ``marked``, are there.
    """
    if api.owners.are_known:
        return api
    if marked:
        ids = ", ".join(f"{each.id} of project {each.owner}" for each in marked[:5])
        raise OwnerUnknown(api.cloud, f"whether images with our marks or name are ours ({ids}) cannot be told")
    return api.known_as(replace(api.owners, project=""))


def _file(home: Home, cloud: str) -> Path:
    return home.root / "publishing" / "projects" / f"{file_name(cloud)}.json"
