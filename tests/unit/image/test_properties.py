from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import PipelineError
from pipeline.image import claims, properties, vocabulary

# The names of the guide's table A.1, typed from it.
GUIDE = [
    "architecture",
    "hypervisor_type",
    "instance_uuid",
    "kernel_id",
    "os_distro",
    "os_version",
    "ramdisk_id",
    "vm_mode",
    "hw_disk_bus",
    "hw_cdrom_bus",
    "hw_numa_nodes",
    "hw_numa_cpus.0",
    "hw_numa_cpus.1",
    "hw_numa_mem.0",
    "hw_numa_mem.1",
    "hw_qemu_guest_agent",
    "hw_rng_model",
    "hw_scsi_model",
    "hw_video_model",
    "hw_video_ram",
    "hw_watchdog_action",
    "os_command_line",
    "hw_vif_model",
    "vmware_adaptertype",
    "vmware_ostype",
    "vmware_image_version",
    "auto_disk_config",
    "os_type",
]


def told(**given: str) -> list[str]:
    return [str(problem) for problem in properties.problems(given)]


def test_every_name_of_the_guide_is_known() -> None:
    for name in GUIDE:
        entry = vocabulary.find(name)
        assert entry is not None and entry.source == "guide", name


def test_every_entry_is_whole() -> None:
    sources = {"guide", "glance", "nova", "osinfo", "scs", "field"}
    for name, entry in vocabulary.entries().items():
        assert entry.what.endswith("."), name
        assert entry.source in sources, name
        assert (entry.kind in ("enum", "set")) == bool(entry.values), name
        assert (entry.kind == "form") == bool(entry.forms), name
        default = entry.document.get("default")
        assert default is None or entry.problem(str(default)) is None, name
        assert all(isinstance(value, str) and meaning for value, meaning in entry.values.items()), name
        assert set(entry.misspelt.values()) <= set(entry.values), name
        assert not set(entry.misspelt) & set(entry.values), name


@pytest.mark.parametrize(
    "name", [name for name, entry in vocabulary.entries().items() if not name.endswith(".N") and entry.kind != "set"]
)
def test_an_impossible_value_is_an_error_and_lists_the_valid_ones(name: str) -> None:
    entry = vocabulary.entries()[name]
    wrong = " " if entry.kind in (vocabulary.PropertyKind.TEXT, vocabulary.PropertyKind.WORD) else "no such thing"
    (said,) = [problem.message for problem in properties.problems({name: wrong}) if problem.name == name][:1]
    for value in entry.values:
        assert value in said
        assert entry.problem(value) is None


# The properties of the standard for clouds' images, with values that it names or that have its forms.
@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("os_purpose", ["generic", "oldgeneric", "custom"], ["application", "hpc", "Generic"]),
        (
            "image_build_date",
            ["2026-11-30", "2026-11-30 23:59", "2026-11-30 23:59:59"],
            ["2026-11-31", "2026-13-01", "2026-11-30T10:00", "2026-11-30 24:00", "30.11.2026", "2026-11-30 "],
        ),
        ("provided_until", ["none", "notice", "2027-02-28"], ["whenever", "forever", "2027-2-8", "none "]),
        ("uuid_validity", ["none", "last-3", "2027-01-01", "notice", "forever"], ["last-0", "last-N", "last-", "ever"]),
        ("maintained_until", ["2029-05-31"], ["none", "2029"]),
        ("image_original_user", ["none", "debian", "cloud-user"], ["", "a b", "root:x"]),
        ("image_source", ["private", "https://example.org/a.qcow2"], ["example.org", "https://", "my disk"]),
        ("image_description", ["Debian 12", "https://example.org/notes"], ["", " "]),
        ("replace_frequency", ["monthly", "critical_bug"], ["fortnightly"]),
        ("license_included", ["true", "no"], ["maybe", "TRUE"]),
        ("l1_support_contact", ["https://help.example.org", "mailto:a@example.org", "tel:+49-30-1"], ["a@example.org"]),
        ("hw_mem_encryption_model", ["amd-sev", "amd-sev-es", "amd-sev-snp", "intel-tdx"], ["sev", "AMD-SEV"]),
        ("hw_architecture", ["x86_64", "aarch64"], ["amd64"]),
    ],
)
def test_what_clouds_promise_has_its_form(name: str, right: list[str], wrong: list[str]) -> None:
    assert [value for value in right if properties.problems({name: value})] == []
    assert [value for value in wrong if not properties.problems({name: value})] == []


def test_a_wrong_form_is_answered_with_the_right_ones() -> None:
    assert told(provided_until="whenever") == ["provided_until: 'whenever' is not none, notice or YYYY-MM-DD"]
    assert "did you mean 'amd-sev-snp'" in told(hw_mem_encryption_model="sev-snp")[0]


def test_one_processor_has_one_name() -> None:
    assert told(architecture="x86_64", hw_architecture="x86_64") == []
    assert told(hw_architecture="aarch64") == []
    assert told(architecture="x86_64", hw_architecture="aarch64") == [
        "hw_architecture: it says another processor than architecture: x86_64"
    ]


def test_errors_say_what_was_meant() -> None:
    listed = ", ".join(vocabulary.entries()["os_distro"].values)
    assert told(os_distro="Debian") == [f"os_distro: 'Debian' is not one of {listed}; did you mean 'debian'?"]
    assert "did you mean 'rhel'" in told(os_distro="RedHat")[0]
    assert "did you mean 'x86_64'" in told(architecture="amd64")[0]
    assert "did you mean 'virtio'" in told(hw_disk_bus="virto")[0]
    assert told(hw_disk_buss="virtio") == [
        "hw_disk_buss: no such property is known; did you mean hw_disk_bus or hw_input_bus or hw_cdrom_bus?"
    ]
    assert "did you mean architecture" in told(architectur="x86_64")[0]
    assert "choose a name without this prefix" in told(img_zzzzzzz="1")[0]


def test_own_names_are_allowed_under_rules() -> None:
    assert told(team="core", **{"com.example:build-id": "17", "trait:HW_CPU_X86_AVX2": "required"}) == []
    assert "belong to the image service" in told(os_glance_x="1")[0]
    assert "attribute of the image" in told(min_disk="1")[0]
    assert "trait is written" in told(**{"trait:HW_X": "forbidden"})[0]
    assert told(**{"a b": "1"}) and told(**{"x" * 256: "1"})
    assert "128 by default" in properties.problems({f"mine{number}": "1" for number in range(129)})[-1].message


def test_contradictions() -> None:
    assert told(hw_disk_bus="scsi") == ["hw_scsi_model: hw_disk_bus scsi needs a controller; set it to virtio-scsi"]
    assert told(hw_disk_bus="scsi", hw_scsi_model="virtio-scsi") == []
    assert "no IDE" in told(hw_disk_bus="ide", hw_machine_type="pc-q35-7.2")[0]
    assert "uefi" in told(os_secure_boot="required")[0]
    assert "hw_tpm_version" in told(hw_tpm_model="tpm-crb")[0]
    assert "guest agent" in told(os_require_quiesce="yes")[0]
    partial = told(img_signature="AAAA", img_signature_hash_method="SHA-256")
    absent = "img_signature_key_type, img_signature_certificate_uuid"
    assert partial == [f"img_signature: the four signature properties go together; missing: {absent}"]


def test_all_problems_come_at_once() -> None:
    with pytest.raises(PipelineError) as error:
        properties.require_valid({"os_type": "bsd", "hw_vif_model": "fast"}, of="recipe tiny")
    assert len(error.value.details) == 2


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=30), max_size=6))
def test_nothing_breaks_the_check(given_properties: dict[str, str]) -> None:
    for problem in properties.problems(given_properties):
        assert problem.message


def test_minimums() -> None:
    assert properties.min_disk(60 << 20) == 1
    assert properties.min_disk((3 << 30) + 1) == 4
    assert properties.min_disk(1 << 30, 10) == 10
    with pytest.raises(PipelineError, match="2 GiB are claimed"):
        properties.min_disk(3 << 30, 2)
    assert properties.min_ram(0, 256 << 20) == 256
    assert properties.min_ram(512, 256 << 20) == 512
    assert properties.min_ram(0, None) == 0
    with pytest.raises(PipelineError, match="boot test used 256 MiB"):
        properties.min_ram(128, 256 << 20)


RHEL = claims.InspectedGuest(
    "linux", "rhel", "Red Hat Enterprise Linux Server 7.6", 7, 6, "x86_64", frozenset({"bash"})
)


@pytest.mark.parametrize(
    ("found", "derived"),
    [
        (
            RHEL,
            {
                "os_type": "linux",
                "os_distro": "rhel",
                "os_version": "7.6",
                "architecture": "x86_64",
                "hw_qemu_guest_agent": "no",
            },
        ),
        (
            claims.InspectedGuest("windows", "windows", "Windows Server 2012 R2 Standard", 6, 3, "x86_64"),
            {"os_type": "windows", "os_distro": "windows", "os_version": "2012 R2", "architecture": "x86_64"},
        ),
        (
            claims.InspectedGuest("linux", "ubuntu", "Ubuntu 22.04", 22, 4, "i386", frozenset({"qemu-guest-agent"})),
            {
                "os_type": "linux",
                "os_distro": "ubuntu",
                "os_version": "22.04",
                "architecture": "i686",
                "hw_qemu_guest_agent": "yes",
            },
        ),
        (claims.InspectedGuest("unknown", "unknown"), {}),
    ],
)
def test_properties_are_derived(found: claims.InspectedGuest, derived: dict[str, str]) -> None:
    assert claims.derive(found) == derived
    assert not properties.problems(derived)
    assert claims.compare(derived, found) == []


def test_false_claims_are_found() -> None:
    claimed = {
        "os_type": "windows",
        "os_distro": "centos",
        "os_version": "8",
        "architecture": "aarch64",
        "hw_qemu_guest_agent": "yes",
    }
    assert {problem.name for problem in claims.compare(claimed, RHEL)} == set(claimed)
    assert claims.compare({"hw_qemu_guest_agent": "no", "team": "core"}, RHEL) == []


@pytest.mark.parametrize(
    ("said", "major", "minor", "agrees"),
    [
        ("12", 12, 0, True),
        ("12.5", 12, 0, True),
        ("0.4.0", 0, 4, True),
        ("7", 7, 6, True),
        ("7.9", 7, 6, False),
        ("", 7, 6, False),
    ],
)
def test_versions_may_differ_in_exactness_only(said: str, major: int, minor: int, agrees: bool) -> None:
    found = claims.InspectedGuest("linux", "debian", "", major, minor)
    assert (claims.compare({"os_version": said}, found) == []) == agrees


def test_the_vocabulary_matches_the_guides_own_values() -> None:
    text = Path(vocabulary.__file__).with_suffix(".yaml").read_text()
    assert len(re.findall(r"^    [a-z0-9_]+: ", text.split("hypervisor_type:")[0], re.M)) == 29
