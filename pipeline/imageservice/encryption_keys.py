"""Keys that end with the image they encrypt.

Block storage notes on an image of an encrypted volume which key it made for it, and whether that key is to go with the
image. It goes with the rights of whoever deletes the image; when it cannot, that is for the log, and the image is
deleted all the same.
"""

from __future__ import annotations

import logging
import re
import uuid

import requests

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.model import Image
from pipeline.imageservice.data.certificates import key_manager_url

log = logging.getLogger("imageservice.keys")

KEY = "cinder_encryption_key_id"
POLICY = "cinder_encryption_key_deletion_policy"
_ON_DELETION = "on_image_deletion"
_SECONDS = 10


def delete_key(key_manager: str | None, caller: Caller, image: Image) -> None:
    """Delete the key of a deleted image, where its properties say so. Never raises for what the other side does."""
    key = _key(image)
    if key is None:
        return
    problem = _delete(key_manager_url(key_manager, caller), caller.token, key)
    if problem is not None:
        log.warning("image %s: its encryption key stays: %s", image.id, problem)


def keep_key(image: Image) -> None:
    """Say that an image which can be restored keeps its key: nobody comes later with the right to it."""
    if _key(image) is not None:
        log.warning("image %s: its encryption key stays, since the image can be restored", image.id)


def _key(image: Image) -> str | None:
    """The key that goes with the image, if one does."""
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
