"""Kickstarts of the world get the verdict of the installer that takes them.

Each case is a small one of our own, made after a public file; the source names the file and the line that it is about.
The verdict is that of pykickstart's classes as the release ships them (its branches rhel6-branch and rhel7-branch) with
those that the installer puts in their place (kickstart.py of anaconda, the same branches).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.host.install.install_tree import TreeInfo
from pipeline.steps.kickstart import isolated, syntax, validity

pytestmark = pytest.mark.subprocess


def judged(text: str, release: str) -> validity.Verdict:
    info = TreeInfo("Red Hat Enterprise Linux", release, "x86_64", "vmlinuz", "initrd.img", ("",))
    return validity.judge(text, syntax.parse(text), info)


@dataclass(frozen=True)
class Case:
    """``refused``, ``told``: a part of the one error, or of the one warning; None: there is none."""

    source: str
    release: str
    text: str
    refused: str | None = None
    told: str | None = None


_BENTO, _CENTOS, _OZ = "chef/bento", "CentOS/sig-cloud-instance-build", "clalancette/oz"
_PLAIN = "install\ncdrom\nlang de_DE.UTF-8\nkeyboard de\n"
CASES = [
    Case(f"{_OZ} oz/auto/RHEL6.auto:14", "6.10", f"{_PLAIN}zerombr yes\n", told="zerombr command no longer takes any"),
    Case(
        f"{_OZ} oz/auto/RHEL6.auto:24", "6.10", "text\n%packages --nobase\n@core\n%post\ntrue\n", told="end with %end"
    ),
    Case(f"{_OZ} oz/auto/RHEL6.auto:3", "6.10", "key --skip\n"),
    Case(f"{_OZ} oz/auto/RHEL5.auto:6", "6.10", "langsupport de_DE\n", refused="line 1: Unknown command: langsupport"),
    Case(f"{_CENTOS} docker/centos-6.ks:35", "6.10", "%packages --excludedocs --nobase --nocore\nbash\n%end\n"),
    Case(
        "boxcutter/centos kickstart/centos6-desktop/ks.cfg:35",
        "6.10",
        "xconfig --startxonboot --depth=24\n",
        told="--depth",
    ),
    Case("boyzhujian/installscript kvm/installcentos6.md", "6.10", "clearpart --drive=vda --initlabel\n"),
    Case(
        f"{_BENTO} packer/http/centos-6.5/ks.cfg:32",
        "6.10",
        "%packages\n@core\n\n%post\nset -e\n",
        told="end with %end",
    ),
    Case(
        f"{_CENTOS} cloudimg/CentOS-7-x86_64-hvm.ks:22",
        "7.9",
        "network --bootproto=dhcp\nnetwork --hostname=x.example.org\n",
        told="line 2: A network device with the name has already been defined",
    ),
    Case(
        f"{_CENTOS} ovirt/CentOS-7-x86_64-oVirt-r1.ks:19",
        "7.9",
        "network --bootproto=dhcp --device=eth0\nnetwork --device=eth0\n",
        told="name eth0 has already",
    ),
    Case(
        f"{_CENTOS} docker/deprecated/centos-7.0.1406.ks:16",
        "7.9",
        "%packages --excludedocs --nobase\nbash\n%end\n",
        told="--nobase",
    ),
    Case(
        "puppetlabs/puppetlabs-packer templates/redhat-7.0/files/x86_64.ks:22",
        "7.9",
        "auth --useshadow\nfirstboot --disabled\nreboot --eject\n%packages --ignoremissing\n@core\n%end\n",
    ),
    Case(
        "sankarvema/Hanlon core/model/redhat/7/kickstart.erb",
        "7.9",
        "bootloader --location=mbr --append=crashkernel=auto rhgb quiet\n",
        told="line 1: bootloader passes over rhgb quiet",
    ),
    Case(
        "jamesread/demo-building-pipeline demo-centos7-atomic/demo.ks:7",
        "7.9",
        "network --onboot yes --bootproto dhcp --ipv6 off\n",
    ),
    Case(
        "demilyc/ngn-auto-installation-kickstarts ati_autopart_05.ks:30",
        "7.9",
        "autopart --encrypted --passphrase=x --type=thinp\n",
    ),
    Case("what the table of rhel7-branch has: sshkey", "7.9", 'sshkey --username=root "ssh-rsa AAAA"\n'),
    Case(
        "what the table of rhel7-branch has: RHEL7_Reboot, RHEL7_Firewall",
        "7.9",
        "reboot --kexec\nfirewall --use-system-defaults\n",
    ),
    Case("a kickstart of release 6 on 7", "7.9", "bootloader --location=partition\n", refused="GRUB2 does not support"),
    Case("a kickstart of release 6 on 7", "7.9", "interactive\n", refused="line 1: Unknown command: interactive"),
    Case(
        "a kickstart of release 6 on 7",
        "7.9",
        "text\n%packages\n@core\n%post\ntrue\n%end\n",
        refused="does not end with %end",
    ),
    Case(
        "a kickstart of release 7 on 6",
        "6.10",
        "%pre-install\ntrue\n%end\n",
        refused="Unknown kickstart section: %pre-install",
    ),
    Case("a kickstart of release 7 on 6", "6.10", "eula --agreed\n", refused="Unknown command: eula"),
    Case("a kickstart of release 7 on 6", "6.10", "reboot --kexec\n", refused="--kexec"),
    Case(
        f"{_BENTO} packer_templates/centos/http/8/ks.cfg:1",
        "8.5",
        "install\ncdrom\n",
        told="install command has been deprecated",
    ),
    Case(
        f"{_CENTOS} cloudimg/CentOS-8-x86_64-Azure.ks:8",
        "8.5",
        "authconfig --enableshadow\n",
        told="use authselect instead",
    ),
    Case(
        f"{_BENTO} packer_templates/centos/http/7/ks.cfg:22",
        "8.5",
        "%packages --nobase\n@core\n%end\n",
        refused="--nobase",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.release} {case.source}")
def test_kickstarts_of_the_world(case: Case) -> None:
    found = judged(case.text, case.release)
    assert [case.refused in said for said in found.errors if case.refused] == [True] * bool(case.refused), found
    assert bool(found.errors) == bool(case.refused), found
    assert bool(found.warnings) == bool(case.told), found
    if case.told:
        assert all(case.told in said for said in found.warnings), found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bootloader --iscrypted --password=x\n", "grub.pbkdf2"),
        ("clearpart --all --disklabel=sun\n", "--disklabel=sun"),
        ("upgrade\n", "upgrade command is no longer supported"),
        ("part / --size=a\n", "line 1"),
        ('text\nlang "de_DE\n', "line 2: No closing quotation"),
        ("firewall --enabled x\n", "line 1: unrecognized arguments: x"),
        ("reboot --eject\nskipx now\n", "line 2"),
    ],
)
def test_what_release_7_refuses(text: str, said: str) -> None:
    found = judged(text, "7.9")
    assert any(said in each for each in found.errors), found


def test_every_mistake_at_once_and_behind_a_warning() -> None:
    found = judged("network --hostname=a\nnetwork --hostname=b\nskpix\npart / --size=a\nlang\n", "7.9")
    assert [each.partition(": ")[2].partition(":")[0] for each in found.errors] == ["line 3", "line 4", "line 5"]
    assert len(found.warnings) == 1


def test_an_unknown_release_is_named() -> None:
    assert judged("text\n", "99").errors == ["not valid for RHEL99: pykickstart does not know RHEL99"]


def test_fedora_has_its_own_name() -> None:
    info = TreeInfo("Fedora", "33", "x86_64", "vmlinuz", "initrd.img", ("",))
    assert validity.release_name(info) == "F33"


def test_files_that_it_names_are_not_fetched() -> None:
    # pykickstart would fetch the first from its server and read the second.
    found = judged("%ksappend http://192.0.2.1/x.ks\n%include /etc/passwd\ntext\n", "7.9")
    assert (found.errors, found.warnings) == ([], [])


@hypothesis_settings(max_examples=10, deadline=None)
@given(st.lists(st.text(st.sampled_from("abpart -=/%'\"\\\n#é\0"), max_size=30), max_size=10))
def test_any_text_gets_an_answer(lines: list[str]) -> None:
    judged("\n".join(lines), "7.9")


def test_the_program_has_no_more_than_it_needs() -> None:
    library = validity._module("pykickstart")
    files = isolated.readable(validity._module("validator"), (library,))
    assert len(files) == 3
    assert json.dumps(sorted(files)).count("/packages/") == 2
