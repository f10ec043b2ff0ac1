"""Delete encryption keys together with the image they encrypt.

Block storage notes on an image of an encrypted volume which key it made for it, and whether that key is to go with the
image. Anybody may write such a note, about a key of somebody else's. So the key goes only when the image's owner
deletes the image, with the rights of that caller; when it cannot, the image is deleted all the same, and log and event
say so.
"""

from __future__ import annotations

import logging
import re
import uuid

import requests

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.data.certificates import key_manager_url
from pipeline.imageservice.model.images import Image

log = logging.getLogger("imageservice.keys")

KEY = "cinder_encryption_key_id"
POLICY = "cinder_encryption_key_deletion_policy"
_ON_DELETION = "on_image_deletion"
_SECONDS = 10


def delete_key(key_manager: str | None, caller: Caller, image: Image) -> str | None:
    """Delete the key of a deleted image, where its properties say so; returns why it stays, if it does.

    Never raises for what the other side does.
    """
    key = _key(image)
    if key is None:
        return None
    if caller.project is None or caller.project != image.owner:
        return _kept(image, "somebody else than the image's owner has deleted it")
    problem = _delete(key_manager_url(key_manager, caller), caller.token, key)
    return _kept(image, problem) if problem is not None else None


def keep_key(image: Image) -> str | None:
    """Say that an image which can be restored keeps its key: nobody comes later with the right to it."""
    return _kept(image, "the image can be restored") if _key(image) is not None else None


def _kept(image: Image, reason: str) -> str:
    log.warning("image %s: its encryption key stays: %s", image.id, reason)
    return reason


def _key(image: Image) -> str | None:
    """Return the key that goes with the image, if one does."""
    return image.properties.get(KEY) if image.properties.get(POLICY) == _ON_DELETION else None


def _delete(url: str | None, token: str | None, key: str) -> str | None:
    if url is None:
        return "no key manager is known (data.key_manager)"
    try:
        name = str(uuid.UUID(key))
    except ValueError:
        return "its id is not that of a secret"
    address = f"{re.sub(r'(/v1)?/*$', '/v1', url)}/secrets/{name}"
    headers = {"X-Auth-Token": token} if token else {}
    try:
        # A redirect would carry the caller's token to who knows where.
        answer = requests.delete(address, headers=headers, timeout=_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        return f"the key manager does not answer ({type(error).__name__})"
    if answer.status_code in (204, 404):
        return None
    return f"the key manager answers {answer.status_code}"
