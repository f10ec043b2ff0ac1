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
        programs.extend(Path(str(word)).name for word in command)
        return run(command, **options)

    monkeypatch.setattr(process, "run", counted)
    assert problems() == []
    assert programs.count("validator.py") == 3  # bound from its place to its place, and run


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("--only-use=vda", "--only-use=sda", "ignoredisk --only-use names the disk sda, but on the virtio bus"),
        ("--ondisk=vda", "--ondisk=/dev/sdb", "part --ondisk names the disk sdb"),
        ("--boot-drive=vda", "--boot-drive=sda", "bootloader --boot-drive names the disk sda"),
        ("--ondisk=vda", "--onpart=sda1", "part --onpart names the partition sda1, but on the virtio bus"),
        ("--ondisk=vda", "--usepart=/dev/xvda2", "part --usepart names the partition xvda2"),
        ("--ondisk=vda", "--ondisk=vda1", "part --ondisk names the disk vda1"),
        ("clearpart --all", "clearpart --list=vda1,sdb2", "clearpart --list names the partition sdb2"),
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
        ("set -eu\n", "set -o pipefail\n", "%post without 'set -e'"),
        ("set -eu\n", "bash --norc x\n", "%post without 'set -e'"),
        ("# No -x:", "#!/bin/bash -e\n# No -x:", "takes --interpreter, not the script's #! line"),
        ("%post --erroronfail", "%post --erroronfail --interpreter='/bin/bash -e'", "a file called '/bin/bash -e'"),
        ("BUILD-SENTINEL", "BUILD-SENTINLE", "the only proof of success"),
        ("skipx\n", "%include /tmp/more.ks\n", "%include is not looked into"),
        ("skipx\n", "%ksappend /tmp/more.ks\n", "%ksappend is not looked into"),
    ],
)
def test_each_mistake_is_told(old: str, new: str, said: str) -> None:
    text = changed(old, new)
    found = problems(text.replace("set -eu\n", "") if "/bash -e" in new else text)
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("text\n", "graphical\n"),
        ("cdrom\n", "url --url=http://mirror.example.org/7/\n"),
        ("cdrom\n", "nfs --server=mirror.example.org --dir=/7\n"),
        ("\npoweroff\n", "\nshutdown\n"),
        ("set -eu\n", "set -o errexit\n"),
        ("set -eu\n", "set -u; set -euo pipefail\n"),
        ("set -eu\n", "set -o pipefail -o errexit\n"),
        ("set -eu\n", "bash -e <<'SCRIPT'\n"),
        ("set -eu\n", "( set -ex\n"),
        ("set -eu\n", "exec /bin/bash -eu /tmp/x\n"),
        ("%post --erroronfail", "%post --erroronfail --interpreter=/bin/bash"),
        ("chrony\n", "kernel-3.10.0-1160.el7\n/usr/bin/chronyc\n"),
    ],
)
def test_what_the_installer_understands_passes(old: str, new: str) -> None:
    assert problems(changed(old, new)) == []


def test_another_interpreter_has_its_own_ways_to_fail() -> None:
    script = "%post --erroronfail --interpreter /usr/bin/python\nprint(1)\n%end\n"
    assert problems(f"{good()}{script}") == []


def warned(text: str, **parts: Any) -> Sequence[str]:
    return lint.require(text, recipe(**parts), INFO, OFFERS)


def test_what_the_installer_passes_over_is_told() -> None:
    text = changed("%packages\n", "%packages --nobase --ignoremissing\n").replace("chrony\n", "chorny\n@coer\n")
    text = text.replace("skipx\n", "skipx\nnetwork --hostname=a.example.org\nnetwork --hostname=b.example.org\n")
    text = text.replace("--timeout=1", "--timeout=1 --driveorder=sda,vda")
    told = "\n".join(warned(text))
    for said in (
        "--nobase option has been deprecated",
        "A network device with the name",
        "no package chorny on the media, extra; did you mean chrony?",
        "no group @coer",
        "bootloader --driveorder names the disk sda",
    ):
        assert said in told
    assert len(told.splitlines()) == 5


def test_what_a_kickstarts_own_script_writes_may_be_included() -> None:
    script = "%pre\necho 'skipx' > /tmp/more.ks\n%end\n"
    text = script + changed("skipx\n", "%include /tmp/more.ks\n").replace("zerombr\n", "")
    assert [said.partition(": ")[2] for said in warned(text)] == [
        "/tmp/more.ks is written by %pre: what stands in it is not looked into",
        "the installer would wait for a person to answer",
    ]


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
