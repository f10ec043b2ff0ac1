"""cloud-init's settings and SELinux's mark, in a guest's files."""

from __future__ import annotations

from typing import Any, cast

import pytest
import yaml

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.recipes.model.guest import CloudInit
from pipeline.steps.offline import cloud_init, selinux


class Files:
    """As much of a guest as is looked at."""

    def __init__(self, **files: str) -> None:
        self.files = {name.replace("_", "/"): text for name, text in files.items()}

    def read(self, path: str) -> str:
        return self.files.get(path, "")

    def exists(self, path: str) -> bool:
        return path in self.files

    def has_command(self, name: str) -> bool:
        return f"/bin/{name}" in self.files

    def write(self, path: str, content: Any, *, mode: int | None = None) -> None:
        self.files[path] = content


def guest(files: Files) -> GuestSystem:
    return cast(GuestSystem, files)


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


@pytest.mark.parametrize(
    ("config", "due"),
    [
        ("# SELINUX= one of\nSELINUX=enforcing\n", True),
        ("SELINUX=permissive", True),
        ("SELINUX=disabled\n", False),
        ("", False),
    ],
)
def test_only_guests_that_use_selinux_label_their_files(config: str, due: bool) -> None:
    files = Files(_etc_selinux_config=config)
    assert selinux.relabel_at_start(guest(files)) is due
    assert files.exists(selinux.MARK) is due
