"""Write cloud-init's settings into a guest."""

from __future__ import annotations

import pytest
import yaml

from pipeline.base.errors import PipelineError
from pipeline.recipes.model.guest import CloudInit
from pipeline.steps.offline import cloud_init
from tests.unit.steps.offline.guest_files import Files, guest


def test_cloud_init_is_told_in_its_own_format() -> None:
    files = Files(_bin_growpart="", **{"_bin_cloud-init": ""})
    wanted = CloudInit.model_validate({"datasources": ["ConfigDrive", "Ec2", "None"]})
    cloud_init.configure(guest(files), wanted)
    assert yaml.safe_load(files.read(cloud_init.FILE)) == {
        "growpart": {"mode": "auto", "devices": ["/"]},
        "resize_rootfs": True,
        "datasource_list": ["ConfigDrive", "Ec2", "None"],
    }


def test_without_growth_and_with_its_own_list() -> None:
    said = yaml.safe_load(cloud_init.text(CloudInit(grow_root=False)))
    assert said == {"growpart": {"mode": "off", "devices": ["/"]}, "resize_rootfs": False}


@pytest.mark.parametrize(
    ("files", "said"), [(Files(), "no cloud-init"), (Files(**{"_bin_cloud-init": ""}), "the guest has no growpart")]
)
def test_a_guest_that_lacks_what_it_is_for(files: Files, said: str) -> None:
    with pytest.raises(PipelineError, match=said):
        cloud_init.configure(guest(files), CloudInit())
