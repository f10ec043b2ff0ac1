from __future__ import annotations

import io
import json
from pathlib import Path

import pycdlib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import PipelineError
from pipeline.host.media import iso


def label_of(image: Path) -> str:
    # ECMA-119, 8.4: the primary volume descriptor is sector 16, the volume identifier its bytes 40 to 71.
    return image.read_bytes()[16 * 2048 + 40 : 16 * 2048 + 72].decode().rstrip()


def test_a_nocloud_seed_is_what_cloud_init_and_cirros_look_for(tmp_path: Path) -> None:
    seed = tmp_path / "seed.iso"
    iso.nocloud_seed(seed, metadata={"instance-id": "i-1"}, user_data=b"#!/bin/sh\n")
    assert label_of(seed) == "cidata"
    found = iso.read(seed, ["meta-data", "user-data", "vendor-data"])
    assert json.loads(found["meta-data"]) == {"instance-id": "i-1"}
    assert found["user-data"] == b"#!/bin/sh\n"
    assert "vendor-data" not in found
    iso.nocloud_seed(seed, metadata={"instance-id": "i-1"}, user_data=b"", vendor_data=b"#cloud-config\n")
    assert iso.read(seed, ["vendor-data"])["vendor-data"] == b"#cloud-config\n"


def test_a_config_drive_has_its_folders(tmp_path: Path) -> None:
    drive = tmp_path / "drive.iso"
    iso.config_drive(drive, metadata={"uuid": "u"}, user_data=b"x")
    assert label_of(drive) == "config-2"
    found = iso.read(drive, ["openstack/latest/meta_data.json", "openstack/latest/user_data"])
    assert found == {
        "openstack/latest/meta_data.json": json.dumps({"uuid": "u"}, indent=1).encode(),
        "openstack/latest/user_data": b"x",
    }


@given(
    files=st.dictionaries(
        st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,40}", fullmatch=True), min_size=1, max_size=4).map(
            "/".join
        ),
        st.binary(max_size=5000),
        max_size=8,
    )
)
def test_files_come_back_as_they_went_in(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    folders = {"/".join(path.split("/")[:count]) for path in files for count in range(1, len(path.split("/")))}
    files = {path: content for path, content in files.items() if path not in folders}
    image = tmp_path_factory.mktemp("iso") / "x.iso"
    iso.write(image, "LABEL", files)
    assert iso.read(image, list(files)) == files


def test_long_labels_do_without_joliet(tmp_path: Path) -> None:
    image = tmp_path / "x.iso"
    iso.write(image, "RHEL-7.6 Server.x86_64", {".discinfo": b"x"})
    assert label_of(image) == "RHEL-7.6 Server.x86_64"
    assert iso.read(image, [".discinfo"]) == {".discinfo": b"x"}
    with pytest.raises(PipelineError, match="1 to 32"):
        iso.write(image, "x" * 33, {})


def test_what_is_no_iso_is_told(tmp_path: Path) -> None:
    image = tmp_path / "x.iso"
    image.write_bytes(b"not an iso" * 1000)
    with pytest.raises(PipelineError, match=r"x\.iso: not an ISO image"):
        iso.read(image, ["a"])


@pytest.mark.parametrize(
    ("entries", "starts"),
    [([], set()), ([{}], {"bios"}), ([{"efi": True}], {"uefi"}), ([{}, {"efi": True}], {"bios", "uefi"})],
)
def test_the_boot_catalog_says_which_firmware_can_start_it(
    tmp_path: Path, entries: list[dict[str, bool]], starts: set[str]
) -> None:
    made = pycdlib.PyCdlib()
    made.new()
    made.add_fp(io.BytesIO(bytes(2048)), 2048, "/BOOT.;1")
    for each in entries:
        made.add_eltorito("/BOOT.;1", bootcatfile="/BOOT.CAT;1", platform_id=0xEF if each else 0, **each)
    made.write(str(tmp_path / "a.iso"))
    made.close()
    with iso.opened(tmp_path / "a.iso") as medium:
        assert medium.firmware == starts
