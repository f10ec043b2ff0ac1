"""Declare the settings of a store in Ceph (RBD)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from pipeline.base.settings_path import ExistingFile
from pipeline.imageservice.stores.base_options import StoreOptions

_MIB = 1 << 20


class RbdOptions(StoreOptions):
    """Images as block images of a Ceph pool, of which volumes can be cloned. Times in seconds."""

    type: Literal["rbd"] = "rbd"
    pool: str = Field("images", pattern=r"^[^/@\s]+$", description="The pool that holds the images.")
    user: str = Field("glance", pattern=r"^[^\s]+$", description="The Ceph user, without `client.`.")
    ceph_conf: ExistingFile = Field(description="The cluster's ceph.conf, which also names the user's keyring.")
    object_size: int = Field(8 * _MIB, description="Bytes of the objects an image is spread over; a power of two.")
    holes: bool = Field(True, description="Blocks of zeros take no room (thin provisioning).")
    writes_at_once: int = Field(4, ge=1, le=64, description="Writes of one image on their way at the same time.")
    connect_timeout: float = Field(10, gt=0, description="How long to wait for the cluster's monitors.")
    operation_timeout: float = Field(60, gt=0, description="How long one operation may take before it fails.")

    @field_validator("object_size")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if not 1 * _MIB <= value <= 32 * _MIB or value & (value - 1):
            raise ValueError("must be a power of two between 1 MiB and 32 MiB")
        return value
