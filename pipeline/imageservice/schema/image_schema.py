"""Hold the schema of the image document: clients build models from it, and requests are checked against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.base import json_text
from pipeline.base.errors import PipelineError
from pipeline.imageservice.model.images import ImageStatus

UUID_PATTERN = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
LARGEST_INTEGER = 2147483647
_PROPERTY_KEYS = "https://docs.openstack.org/python-glanceclient/latest/cli/property-keys.html"
_NULL_OR_TEXT = ["null", "string"]
_BOOT_FILE = "ID of image stored in Glance that should be used as the {} when booting an AMI-style image."

LOCATION = {
    "type": "object",
    "properties": {
        "url": {"type": "string", "maxLength": 255},
        "metadata": {"type": "object"},
        "validation_data": {
            "description": (
                "Values to be used to populate the corresponding image properties. If the image status is not "
                "'queued', values must exactly match those already contained in the image properties."
            ),
            "type": "object",
            "writeOnly": True,
            "additionalProperties": False,
            "properties": {
                "checksum": {"type": "string", "minLength": 32, "maxLength": 32},
                "os_hash_algo": {"type": "string", "maxLength": 64},
                "os_hash_value": {"type": "string", "maxLength": 128},
            },
            "required": ["os_hash_algo", "os_hash_value"],
        },
    },
    "required": ["url", "metadata"],
}

# What an operator's schema file holds unless it says otherwise.
_TYPED_PROPERTIES: dict[str, dict[str, Any]] = {
    "kernel_id": {
        "type": _NULL_OR_TEXT,
        "pattern": UUID_PATTERN,
        "description": _BOOT_FILE.format("kernel"),
    },
    "ramdisk_id": {
        "type": _NULL_OR_TEXT,
        "pattern": UUID_PATTERN,
        "description": _BOOT_FILE.format("ramdisk"),
    },
    "instance_uuid": {
        "type": "string",
        "description": (
            "Metadata which can be used to record which instance this image is associated with. (Informational only, "
            "does not create an instance snapshot.)"
        ),
    },
    "architecture": {
        "type": "string",
        "description": f"Operating system architecture as specified in {_PROPERTY_KEYS}",
    },
    "os_distro": {
        "type": "string",
        "description": f"Common name of operating system distribution as specified in {_PROPERTY_KEYS}",
    },
    "os_version": {
        "type": "string",
        "description": "Operating system version as specified by the distributor.",
    },
    "description": {"type": "string", "description": "A human-readable string describing this image."},
    "cinder_encryption_key_id": {
        "type": "string",
        "description": (
            "Identifier in the OpenStack Key Management Service for the encryption key for the Block Storage Service "
            "to use when mounting a volume created from this image"
        ),
    },
    "cinder_encryption_key_deletion_policy": {
        "type": "string",
        "enum": ["on_image_deletion", "do_not_delete"],
        "description": (
            "States the condition under which the Image Service will delete the object associated with the "
            "'cinder_encryption_key_id' image property.  If this property is missing, the Image Service will take no "
            "action"
        ),
    },
}


def _base(disk_formats: Sequence[str], container_formats: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {
        "id": {"type": "string", "pattern": UUID_PATTERN, "description": "An identifier for the image"},
        "name": {"type": _NULL_OR_TEXT, "maxLength": 255, "description": "Descriptive name for the image"},
        "status": {
            "type": "string",
            "readOnly": True,
            "enum": [str(status) for status in ImageStatus],
            "description": "Status of the image",
        },
        "visibility": {
            "type": "string",
            "enum": ["community", "public", "private", "shared"],
            "description": "Scope of image accessibility",
        },
        "protected": {"type": "boolean", "description": "If true, image will not be deletable."},
        "os_hidden": {
            "type": "boolean",
            "description": "If true, image will not appear in default image list response.",
        },
        "checksum": {
            "type": _NULL_OR_TEXT,
            "readOnly": True,
            "maxLength": 32,
            "description": "md5 hash of image contents.",
        },
        "os_hash_algo": {
            "type": _NULL_OR_TEXT,
            "readOnly": True,
            "maxLength": 64,
            "description": "Algorithm to calculate the os_hash_value",
        },
        "os_hash_value": {
            "type": _NULL_OR_TEXT,
            "readOnly": True,
            "maxLength": 128,
            "description": "Hexdigest of the image contents using the algorithm specified by the os_hash_algo",
        },
        "owner": {"type": _NULL_OR_TEXT, "maxLength": 255, "description": "Owner of the image"},
        "size": {"type": ["null", "integer"], "readOnly": True, "description": "Size of image file in bytes"},
        "virtual_size": {
            "type": ["null", "integer"],
            "readOnly": True,
            "description": "Virtual size of image in bytes",
        },
        "container_format": {
            "type": _NULL_OR_TEXT,
            "enum": [None, *container_formats],
            "description": "Format of the container",
        },
        "disk_format": {
            "type": _NULL_OR_TEXT,
            "enum": [None, *disk_formats],
            "description": "Format of the disk",
        },
        "created_at": {"type": "string", "readOnly": True, "description": "Date and time of image registration"},
        "updated_at": {
            "type": "string",
            "readOnly": True,
            "description": "Date and time of the last image modification",
        },
        "tags": {
            "type": "array",
            "items": {"type": "string", "maxLength": 255},
            "description": "List of strings related to the image",
        },
        "direct_url": {
            "type": "string",
            "readOnly": True,
            "description": "URL to access the image file kept in external store",
        },
        "min_ram": {"type": "integer", "description": "Amount of ram (in MB) required to boot image."},
        "min_disk": {"type": "integer", "description": "Amount of disk space (in GB) required to boot image."},
        "self": {"type": "string", "readOnly": True, "description": "An image self url"},
        "file": {"type": "string", "readOnly": True, "description": "An image file url"},
        "stores": {
            "type": "string",
            "readOnly": True,
            "description": (
                "Store in which image data resides.  Only present when the operator has enabled multiple stores.  May "
                "be a comma-separated list of store identifiers."
            ),
        },
        "schema": {"type": "string", "readOnly": True, "description": "An image schema url"},
        "locations": {
            "type": "array",
            "items": LOCATION,
            "description": "A set of URLs to access the image file kept in external store",
        },
    }


class ImageSchema:
    """The image schema as configured: base fields, the operator's typed properties, anything else as text."""

    def __init__(self, disk_formats: Sequence[str], container_formats: Sequence[str], file: Path | None = None) -> None:
        """``file``: the operator's typed properties, in JSON. Raises ``PipelineError`` for one that cannot be used."""
        self.base = _base(disk_formats, container_formats)
        self.typed, self.required = _typed_properties(file)
        clash = sorted(set(self.typed) & set(self.base))
        if clash:
            raise PipelineError(f"api.image_schema: {clash[0]} is a base field and cannot be described anew")

    @cached_property
    def document(self) -> dict[str, Any]:
        """The JSON schema of one image."""
        typed = {name: {**schema, "is_base": False} for name, schema in self.typed.items()}
        document: dict[str, Any] = {
            "name": "image",
            "properties": {**self.base, **typed},
            "additionalProperties": {"type": "string"},
            "links": [
                {"rel": "self", "href": "{self}"},
                {"rel": "enclosure", "href": "{file}"},
                {"rel": "describedby", "href": "{schema}"},
            ],
        }
        if self.required:
            document["required"] = self.required
        return document

    def of(self, name: str) -> Mapping[str, Any]:
        """Return the schema of one field or property."""
        return self.base.get(name) or self.typed.get(name) or _ANY_PROPERTY

    def absent(self, name: str) -> str | None:
        """Return how a property without a value is shown: as null where its schema knows that, else as no text.

        Clients check what they read against the schema, and cannot change an image that does not fit it.
        """
        return None if "null" in self.of(name).get("type", ()) else ""


_ANY_PROPERTY = {"type": "string"}


def _typed_properties(file: Path | None) -> tuple[dict[str, dict[str, Any]], list[str]]:
    if file is None:
        return _TYPED_PROPERTIES, []
    try:
        data = json_text.loads(file.read_text())
    except OSError as error:
        raise PipelineError(f"api.image_schema: {file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise PipelineError(f"api.image_schema: {file} is not JSON: {error}") from None
    required: list[str] = []
    if isinstance(data, dict) and isinstance(data.get("properties"), dict):
        required = data.get("required", [])
        data = data["properties"]
    if not isinstance(data, dict) or not all(isinstance(schema, dict) for schema in data.values()):
        raise PipelineError(f"api.image_schema: {file} must map names of properties to their schemas")
    return {name: dict(schema) for name, schema in data.items()}, list(required)
