from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.image import vocabulary
from pipeline.image.definitions.judge import DefinedProperties
from pipeline.image.metadefs import catalogue
from pipeline.imageservice.schema.metadef_reader import read_namespace

DOCUMENTS: list[dict[str, Any]] = [dict(one) for one in catalogue.documents()]
# The namespaces of the field, typed from its list.
NAMESPACES = """
OS::Compute:: AggregateDiskFilter AggregateIoOpsFilter AggregateNumInstancesFilter CPUPinning GuestMemoryBacking
GuestShutdownBehavior HostCapabilities Hypervisor InstanceData Libvirt LibvirtImage Quota RandomNumberGenerator TPM VTPM
VirtCPUTopology VMware VMwareFlavor VMwareQuotaFlavor Watchdog XenAPI CIM:: ProcessorAllocationSettingData
ResourceAllocationSettingData StorageAllocationSettingData VirtualSystemSettingData OS::Glance:: CommonImageProperties
Signatures OS:: OperatingSystem OS::Software:: DBMS Runtimes WebServers OS::Cinder:: Volumetype
"""


def prefix_on_images(document: dict[str, Any]) -> str | None:
    for one in document["resource_type_associations"]:
        if one["name"] == catalogue.IMAGE:
            return str(one.get("prefix", ""))
    return None


def contents(document: dict[str, Any]) -> dict[str, Any]:
    """All properties of a namespace, those of its objects among them."""
    found = dict(document.get("properties", {}))
    for one in document.get("objects", ()):
        found |= one["properties"]
    return found


def on_images() -> DefinedProperties:
    known = DefinedProperties()
    for document in DOCUMENTS:
        prefix = prefix_on_images(document)
        if prefix is not None:
            known.add(document["namespace"], prefix, contents(document))
    return known


def test_what_is_shipped_is_what_the_vocabulary_says() -> None:
    shipped = {file.name: file.read_text(encoding="utf-8") for file in catalogue.FOLDER.iterdir()}
    assert shipped == catalogue.files(), "./inv schema"


def test_all_namespaces_of_the_field_are_there() -> None:
    wanted, beginning = set(), ""
    for word in NAMESPACES.split():
        if word.endswith("::"):
            beginning = word
        else:
            wanted.add(beginning + word)
    assert len(wanted) == 32
    assert {document["namespace"] for document in DOCUMENTS} == wanted


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: one["namespace"])
def test_each_document_is_one_that_the_service_takes(document: dict[str, Any]) -> None:
    fields, associations, definitions = read_namespace(document)
    assert fields.visibility == "public" and fields.owner is None
    assert associations and definitions
    for one in contents(document).values():
        assert one["description"].endswith(".") and one["title"][:1] == one["title"][:1].strip()


def test_every_property_of_images_is_defined() -> None:
    known = on_images()
    for name, entry in vocabulary.entries().items():
        shown = re.sub(r"\.N$", ".1", name)
        value = next(iter(entry.values), "1")
        assert known.judge({shown: value}).unknown == (), name


def test_prefixes_are_those_that_compute_reads() -> None:
    by_name = {document["namespace"]: document for document in DOCUMENTS}
    said = {one["name"]: one["prefix"] for one in by_name["OS::Compute::VTPM"]["resource_type_associations"]}
    assert set(said.values()) == {"trait:"}
    said = {one["name"]: one["prefix"] for one in by_name["OS::Compute::TPM"]["resource_type_associations"]}
    assert said == {"OS::Glance::Image": "hw_", "OS::Nova::Flavor": "hw:"}


@given(st.data())
def test_recipes_and_catalogue_agree(data: st.DataObject) -> None:
    """Whatever recipes are checked for passes in a service that judges by the catalogue, and the other way round."""
    entry = vocabulary.entries()[data.draw(st.sampled_from(sorted(vocabulary.entries())))]
    likely = st.sampled_from(
        [*entry.values, *entry.misspelt, "yes", "true", "1", "2026-11-30", "none", "last-3", "0-3"]
    )
    value = data.draw(st.one_of(st.text(max_size=300), likely, st.integers().map(str)))
    wrong = KNOWN.judge({re.sub(r"\.N$", ".0", entry.name): value}).wrong
    assert (entry.problem(value) is None) == (wrong == ())


KNOWN = on_images()


def test_titles_are_for_people() -> None:
    titles = {name: one["title"] for document in DOCUMENTS for name, one in contents(document).items()}
    assert titles["hw_cdrom_bus"] == "CDROM bus"
    assert titles["hw_ipxe_boot"] == "iPXE boot"
    assert titles["sw_database_sqlserver_listen_port"] == "SQL Server listen port"
    assert titles["AutomaticStartupAction"] == "Automatic startup action"
    assert all(re.fullmatch(r"[A-Za-z0-9 ./]+", title) for title in titles.values())
