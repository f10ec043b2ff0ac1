"""Make the documents of the default catalogue, a namespace each, and read those that stand beside this module.

``./inv schema`` writes them from the vocabulary, and a test holds them against it, so that a service which starts reads
a few JSON files and no YAML. Glance's own command loads them, too.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.base import json_text, yaml_source
from pipeline.base.errors import PipelineError
from pipeline.image import vocabulary
from pipeline.image.vocabulary import PropertyDefinition

FOLDER = Path(__file__).with_name("catalogue")
_NAMESPACES = Path(__file__).with_name("namespaces.yaml")
IMAGE = "OS::Glance::Image"
# Beginnings of names that say where a property belongs, which the namespace says too.
_BEGINNINGS = re.compile(r"^(hw|os|img|vmware|sw_database|sw_runtime|sw_webserver)_")
_UPPER = re.compile("cpu|cdrom|db2|hpet|https?|id|iis|l1|numa|pci|php|pmu|qemu|ram|rng|scsi|ssh|tpm|url|usb|uuid|vm")
_SPELLED = {
    "adaptertype": "Adapter type",
    "couchbaseserver": "Couchbase Server",
    "couchdb": "CouchDB",
    "cpus": "CPUs",
    "disktype": "Disk type",
    "hazlecast": "Hazelcast",
    "hbase": "HBase",
    "ipxe": "iPXE",
    "maxphysaddr": "Physical address",
    "mem": "memory",
    "mongodb": "MongoDB",
    "mysql": "MySQL",
    "nova": "Nova",
    "ostype": "Guest system",
    "patchlevel": "Patch level",
    "postgresql": "PostgreSQL",
    "postsqlserver": "SQL Server",
    "sqlserver": "SQL Server",
    "vif": "network card",
    "viommu": "virtual IOMMU",
}


def documents() -> Iterator[Mapping[str, Any]]:
    """Return the catalogue as it is shipped, by name. Raises ``PipelineError`` when the installation lacks it."""
    files = sorted(FOLDER.glob("*.json"))
    if not files:
        raise PipelineError(f"the catalogue of metadata definitions is not in {FOLDER}", hint="./inv schema makes it")
    for file in files:
        yield json_text.loads(file.read_bytes())


@functools.cache
def digest() -> str:
    """Return what changes when a document of the catalogue does."""
    found = hashlib.sha256()
    for file in sorted(FOLDER.glob("*.json")):
        found.update(file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()


def files() -> dict[str, str]:
    """Return the text of each of the catalogue's files, by its name, as the vocabulary says it."""
    return {file_name(one["namespace"]): _text(one) for one in described()}


def described() -> Iterator[dict[str, Any]]:
    """Make the document of each namespace from the vocabulary and ``namespaces.yaml``."""
    source = yaml_source.loads(_NAMESPACES.read_text(encoding="utf-8"), name=_NAMESPACES.name)
    for name, body in source.data.items():
        yield _namespace(name, body)


def file_name(namespace: str) -> str:
    """Return the name of a namespace's file."""
    return f"{re.sub('[^A-Za-z0-9]+', '-', namespace).lower()}.json"


def _namespace(name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    targets = {
        kind: [associated] if isinstance(associated, str) else associated for kind, associated in body["for"].items()
    }
    prefix = targets.get(IMAGE, next(iter(targets.values())))[0]
    document = {
        "namespace": name,
        "display_name": body["title"],
        "description": body["what"],
        "visibility": "public",
        "protected": body.get("protected", True),
        "resource_type_associations": [_association(kind, *associated) for kind, associated in targets.items()],
        "properties": _properties(body, prefix),
        "objects": [
            {"name": called, "description": inner["what"], "properties": _properties(inner, prefix)}
            for called, inner in body.get("objects", {}).items()
        ],
    }
    return {key: value for key, value in document.items() if value not in ({}, [])}


def _association(kind: str, prefix: str, target: str = "") -> dict[str, str]:
    return {"name": kind, **({"prefix": prefix} if prefix else {}), **({"properties_target": target} if target else {})}


def _properties(body: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in body.get("properties", ()):
        name, values = next(iter(item.items())) if isinstance(item, dict) else (item, None)
        entry = vocabulary.find(name)
        if entry is None or not name.startswith(prefix):
            raise PipelineError(f"{_NAMESPACES.name}: {name} is not in the vocabulary, or lacks {prefix!r}")
        found[name.removeprefix(prefix)] = _property(name, entry, values)
    for name, inner in body.get("others", {}).items():
        found[name] = _property(name, vocabulary.read_entry(name, inner))
    return found


def _property(name: str, entry: PropertyDefinition, values: list[str] | None = None) -> dict[str, Any]:
    document = {"title": entry.title or _title(name), "description": entry.what, **entry.document}
    if values is not None:
        if not set(values) <= set(entry.values):
            raise PipelineError(f"{_NAMESPACES.name}: {name} has no such values as {set(values) - set(entry.values)}")
        document["enum"] = values
    return document


def _title(name: str) -> str:
    """Make a title of a name: its words, without what the namespace says already."""
    plain = _BEGINNINGS.sub("", name)
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", plain).lower()
    text = " ".join(_spelled(word) for word in re.split("[_:.]+", words))
    return text if text.startswith("iPXE") else text[:1].upper() + text[1:]


def _spelled(word: str) -> str:
    return _SPELLED.get(word) or (word.upper() if _UPPER.fullmatch(word) else word)


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, indent=4) + "\n"
