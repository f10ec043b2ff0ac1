"""Mistakes in a kickstart, each found before a guest is started."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.install.install_tree import TreeInfo
from pipeline.host.install.repodata import Repodata
from pipeline.host.system import process
from pipeline.recipes.model.kickstart import KickstartInstall
from pipeline.steps.kickstart import lint, render
from tests.unit.steps.kickstart.kickstarts import recipe

pytestmark = pytest.mark.subprocess

INFO = TreeInfo(
    "Red Hat Enterprise Linux", "7.9", "x86_64", "images/pxeboot/vmlinuz", "images/pxeboot/initrd.img", ("",)
)
OFFERS = {
    "the media": Repodata(frozenset({"chrony", "rsyslog", "kernel"}), groups={"core": frozenset({"core"})}),
    "extra": Repodata(frozenset({"cloud-init", "cloud-utils-growpart"}), provides=frozenset({"growpart"})),
}


def problems(text: str | None = None, *, info: TreeInfo = INFO, offers: Any = OFFERS, **parts: Any) -> Sequence[str]:
    made = recipe(**parts)
    assert isinstance(made.install, KickstartInstall)
    text = render.render(made, made.install, "t") if text is None else text
    try:
        lint.require(text, made, info, offers)
    except PipelineError as error:
        return error.details
    return []


def good() -> str:
    made = recipe()
    assert isinstance(made.install, KickstartInstall)
    return render.render(made, made.install, "t")


def changed(old: str, new: str) -> str:
    text = good()
    assert old in text
    return text.replace(old, new)


def test_nothing_stays_of_what_was_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert problems() == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_shipped_has_none_and_that_takes_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    programs: list[str] = []
    run = process.run

    def counted(command: Sequence[str | Path], **options: Any) -> process.Finished:
        programs.append(Path(command[0]).name)
        return run(command, **options)

    monkeypatch.setattr(process, "run", counted)
    assert problems() == []
    assert programs.count("ksvalidator") == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("--only-use=vda", "--only-use=sda", "ignoredisk --only-use names the disk sda, but on the virtio bus"),
        ("--ondisk=vda", "--ondisk=/dev/sdb", "part --ondisk names the disk sdb"),
        ("--boot-drive=vda", "--boot-drive=sda", "bootloader --boot-drive names the disk sda"),
        ("chrony\n", "chorny\n", "no package chorny on the media, extra; did you mean chrony?"),
        ("@core", "@coer", "no group @coer on the media, extra (groups: core)"),
        ("skipx", "skpix", "not valid for RHEL7: "),
        ("firstboot --disable", "firstboot --disbale", "not valid for RHEL7: "),
        ("\npoweroff\n", "\nreboot\n", "poweroff is missing"),
        ("zerombr\n", "", "zerombr is missing: the installer would wait for a person to answer"),
        ("lang en_US.UTF-8\n", "", "lang is missing"),
        ("cdrom\n", "", "cdrom or url is missing"),
        ("%post --erroronfail", "%post", "%post without --erroronfail"),
        ("set -eu\n", "", "%post without 'set -e'"),
        ("BUILD-SENTINEL", "BUILD-SENTINLE", "the only proof of success"),
        ("skipx\n", "%include /tmp/more.ks\n", "%include is not looked into"),
    ],
)
def test_each_mistake_is_told(old: str, new: str, said: str) -> None:
    found = problems(changed(old, new))
    assert any(said in problem for problem in found), found


def test_all_of_them_at_once_with_their_lines() -> None:
    text = changed("--only-use=vda", "--only-use=hda").replace("chrony\n", "chorny\n")
    found = problems(text)
    assert len(found) == 2
    line = text.splitlines().index("ignoredisk --only-use=hda") + 1
    assert found[0].startswith(f"line {line}: ignoredisk")


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (
            replace(INFO, version="7.6"),
            "the media install Red Hat Enterprise Linux 7.6, the recipe says os.version: '7.9'",
        ),
        (replace(INFO, version="6.10"), "the media install Red Hat Enterprise Linux 6.10"),
        (replace(INFO, family="CentOS"), "the recipe says os.distro: rhel"),
        (replace(INFO, architecture="aarch64"), "the media are for aarch64, the recipe is for x86_64"),
    ],
)
def test_other_media_than_the_recipe_is_for(info: TreeInfo, said: str) -> None:
    assert any(said in problem for problem in problems(info=info))


def test_media_that_name_their_major_release_only() -> None:
    centos = {"type": "linux", "distro": "centos", "version": "7.9"}
    assert problems(info=replace(INFO, family="CentOS", version="7"), os=centos) == []


def test_names_in_all_their_spellings() -> None:
    text = changed("chrony\n", "kernel.x86_64\nkern*\ngrowpart\n@Core --nodefaults\n")
    assert problems(text) == []


def test_what_a_list_of_mirrors_offers_is_not_known() -> None:
    text = changed("firstboot --disable\n", "firstboot --disable\nrepo --name=x --mirrorlist=http://x.example.org/\n")
    assert problems(text.replace("chrony\n", "chorny\n")) == []


def test_packages_that_nobody_has_are_told_without_a_repository() -> None:
    found = problems(offers={"the media": OFFERS["the media"]})
    assert [problem.partition(": ")[2] for problem in found] == [
        "no package cloud-init on the media",
        "no package cloud-utils-growpart on the media",
    ]
