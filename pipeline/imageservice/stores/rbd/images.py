"""Name images in a pool, with their snapshot; tell them apart and remove them."""

from __future__ import annotations

import contextlib
import struct
from typing import Any
from urllib.parse import quote

import rados
import rbd

SNAPSHOT = "snap"  # as glance_store calls it
PARTIAL = ".partial."
_ATTEMPT = "image-service.attempt"


def partial_name(attempt: str, name: str) -> str:
    """Return what an image is called while it is written."""
    return f"{PARTIAL}{attempt}.{name}"


def address(fsid: str, pool: str, name: str) -> str:
    """Return the address of a finished image."""
    return "rbd://" + "/".join(quote(part, "") for part in (fsid, pool, name, SNAPSHOT))


def mark(image: Any, attempt: str) -> None:
    """Note in an open image which attempt makes it."""
    image.metadata_set(_ATTEMPT, attempt)


def made_by(pool: Any, name: str) -> str | None:
    """Return the attempt that made an image; ``None`` when none of ours did. Raises ``rbd.ImageNotFound``."""
    with rbd.Image(pool, name, read_only=True) as image, contextlib.suppress(KeyError):
        return str(image.metadata_get(_ATTEMPT))
    return None


def remove(pool: Any, name: str, snapshot: str = SNAPSHOT) -> None:
    """Remove an image with its snapshot.

    Raises ``rbd.ImageBusy`` while volumes are cloned of it or somebody has it open, ``rbd.ImageHasSnapshots`` when it
    has others; it is then as it was. Raises ``rbd.ImageNotFound``.
    """
    with rbd.Image(pool, name) as image:
        names = [one["name"] for one in image.list_snaps()]
        if set(names) - {snapshot}:
            raise rbd.ImageHasSnapshots(f"{name} has snapshots")
        if names:
            if image.is_protected_snap(snapshot):
                image.unprotect_snap(snapshot)
            image.remove_snap(snapshot)
    try:
        rbd.RBD().remove(pool, name)
    except rbd.ImageBusy:
        if names:
            with rbd.Image(pool, name) as image:
                image.create_snap(snapshot)
                image.protect_snap(snapshot)
        raise


def forget_half_a_name(pool: Any, partial: str, name: str) -> None:
    """Undo a renaming that was cut off in its middle: both names then mean one image, which only has the former.

    To be called before the image is removed by its former name; else nothing could ever be called ``name`` again.
    """
    with contextlib.suppress(rados.ObjectNotFound, rbd.ImageNotFound):
        with rbd.Image(pool, partial, read_only=True) as image:
            identity = image.id()
        header = pool.read(f"rbd_id.{name}")
        (length,) = struct.unpack_from("<I", header)
        if header[4 : 4 + length].decode() == identity:
            pool.remove_object(f"rbd_id.{name}")
