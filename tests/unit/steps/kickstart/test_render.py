"""The kickstarts that are shipped: every step of the operator's guide, valid for the releases they are for."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from pipeline.base.errors import PipelineError
from pipeline.recipes.model.kickstart import KickstartInstall
from pipeline.steps.kickstart import render, syntax
from tests.unit.steps.kickstart.kickstarts import recipe

pytestmark = pytest.mark.subprocess  # templates are rendered in a sandbox

ACCOUNT = {"username": "user", "password": "pass", "pool": "pool", "repositories": ["rhel-7-server-rpms"]}
KEY = {"organization": "org", "activation_key": "key"}
MIRROR = {"name": "extra", "url": "http://mirror.example.org/extra/"}
VARIANTS: list[dict[str, Any]] = [
    {"subscription": subscription, "repositories": repositories, "update": update}
    for subscription, repositories, update in itertools.product((None, ACCOUNT, KEY), ([], [MIRROR]), (False, True))
]
RELEASES = {"rhel6.ks": "RHEL6", "rhel7.ks": "RHEL7"}


def rendered(name: str, **install: Any) -> str:
    made = recipe(name, install=install)
    assert isinstance(made.install, KickstartInstall)
    return render.render(made, made.install, "t0ken")


@pytest.mark.parametrize("variant", VARIANTS, ids=range(len(VARIANTS)))
@pytest.mark.parametrize("name", RELEASES)
def test_the_installer_of_its_release_understands_it(name: str, variant: dict[str, Any]) -> None:
    parser = KickstartParser(makeVersion(RELEASES[name]))
    parser.readKickstartFromString(rendered(name, **variant))
    assert parser.handler.packages.groupList[0].name == "core"
    (post,) = [script for script in parser.handler.scripts if script.errorOnFail]
    assert "BUILD-SENTINEL ok t0ken" in post.script


@pytest.mark.parametrize("name", RELEASES)
def test_a_starved_emulated_kernel_goes_on_and_no_memory_waits_for_kdump(name: str) -> None:
    (bootloader,) = syntax.parse(rendered(name)).named("bootloader")
    (services,) = syntax.parse(rendered(name)).named("services")
    words = (bootloader.option("append") or "").split()
    assert "no_timer_check" in words
    assert services.option("disabled") == "kdump"
    assert not [word for word in words if word.startswith("crashkernel")]


@pytest.mark.parametrize("name", RELEASES)
def test_every_step_of_the_guide_is_there(name: str) -> None:
    text = rendered(name, subscription=ACCOUNT, update=True)
    card = "TYPE=Ethernet\nDEVICE=eth0\nONBOOT=yes\nBOOTPROTO=dhcp\nNM_CONTROLLED=no\nEOF\n"
    steps = [
        "> /etc/sysconfig/network-scripts/ifcfg-eth0 << 'EOF'\n" + card,
        "subscription-manager register",
        'subscription-manager attach --pool="$(cat',
        "subscription-manager repos --enable=rhel-7-server-rpms",
        "yum -y update",
        "yum -y install cloud-utils-growpart cloud-init",
        "- resolv-conf",
        "NOZEROCONF=yes >> /etc/sysconfig/network",
        "console=tty0 console=ttyS0,115200n8",
        "subscription-manager repos '--disable=*'",
        "subscription-manager unregister",
        "yum clean all",
        "BUILD-SENTINEL ok t0ken",
    ]
    post = text[text.index("%post") :]
    places = [post.index(step) for step in steps]
    assert places == sorted(places)
    assert re.search(r"^poweroff$", text, re.MULTILINE)
    # With media in its drive, the installer itself needs no network; the subscription does.
    assert re.search(r"^network .*--activate$", text, re.MULTILINE)


def test_what_only_one_release_has() -> None:
    old, new = rendered("rhel6.ks"), rendered("rhel7.ks")
    assert 'echo "#" > /etc/udev/rules.d/75-persistent-net-generator.rules' in old
    assert "/boot/grub/grub.conf" in old
    assert 'GRUB_CMDLINE_LINUX_DEFAULT="console=tty0 console=ttyS0,115200n8"' in new
    assert "grub2-mkconfig -o /boot/grub2/grub.cfg" in new
    assert "75-persistent" not in new


@pytest.mark.parametrize("name", RELEASES)
def test_nothing_secret_stands_in_it(name: str) -> None:
    text = rendered(name, subscription={**ACCOUNT, "password": "name-of-the-secret"})
    assert "name-of-the-secret" not in text
    assert "set -x" not in text


@pytest.mark.parametrize(("bus", "disk"), [("virtio", "vda"), ("scsi", "sda"), ("sata", "sda"), ("ide", "sda")])
def test_the_disk_is_called_as_its_bus_has_it(bus: str, disk: str) -> None:
    made = recipe(properties={"hw_disk_bus": bus, **({"hw_scsi_model": "virtio-scsi"} if bus == "scsi" else {})})
    assert isinstance(made.install, KickstartInstall)
    kickstart = syntax.parse(render.render(made, made.install, "t"))
    assert {command.option("ondisk") for command in kickstart.named("part")} == {disk}


def test_an_unknown_name_in_a_template(tmp_path: Path) -> None:
    (tmp_path / "mine.ks").write_text("text\nlang {{ langauge }}\n")
    made = recipe(tmp_path / "mine.ks")
    assert isinstance(made.install, KickstartInstall)
    with pytest.raises(PipelineError) as caught:
        render.render(made, made.install, "t")
    assert "'langauge' is undefined" in caught.value.message
    assert "disk" in str(caught.value.hint)


def test_a_template_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "mine.ks").write_text("text\n{% if %}\n")
    made = recipe(tmp_path / "mine.ks")
    assert isinstance(made.install, KickstartInstall)
    with pytest.raises(PipelineError, match=r"mine\.ks:2: "):
        render.render(made, made.install, "t")
