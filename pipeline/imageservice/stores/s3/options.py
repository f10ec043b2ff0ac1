"""Declare the settings of a store in S3."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from pipeline.imageservice.stores.base_options import ObjectOptions, StoreSecret

_MIB = 1 << 20


class S3Options(ObjectOptions):
    """Images as objects of one bucket, on any server that speaks S3. Times in seconds."""

    type: Literal["s3"] = "s3"
    host: str = Field(description="The server: `https://s3.example.com`, with a port where it is not the usual one.")
    bucket: str = Field(description="The bucket that holds the images.")
    access_key: StoreSecret = Field(description="The access key, as text, {file: PATH} or {environment: NAME}.")
    secret_key: StoreSecret = Field(description="The secret key, as text, {file: PATH} or {environment: NAME}.")
    region: str = Field("us-east-1", min_length=1, description="The region requests are signed for.")
    addressing: Literal["path", "virtual", "auto"] = Field(
        "path", description="Where the bucket stands in a request: in the path, or in the host's name (virtual)."
    )
    create_bucket: bool = Field(False, description="Make the bucket when it is missing.")
    part_size: int = Field(
        16 * _MIB, ge=5 * _MIB, le=512 * _MIB, description="Bytes of one part; larger images get larger parts."
    )
    parts_at_once: int = Field(3, ge=1, le=32, description="Parts of one image sent at the same time.")
    connections: int = Field(32, ge=1, description="Connections kept open.")

    @field_validator("host")
    @classmethod
    def _server(cls, value: str) -> str:
        parts = urlsplit(value)
        plain = not (parts.query or parts.fragment or parts.username) and parts.path in ("", "/")
        if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
            raise ValueError("write the server as https://HOST or http://HOST:PORT, without a path or credentials")
        return value.rstrip("/")

    @field_validator("bucket")
    @classmethod
    def _bucket(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", value):
            raise ValueError("not a name for a bucket")
        return value
