"""Lint a kickstart against the media, the repositories and the hardware, before any guest is started.

What would hang or fail after an hour of installing is told within seconds, all of it at once.
"""

from __future__ import annotations

import fnmatch
import re
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.install.install_tree import TreeInfo
from pipeline.host.install.repodata import Repodata
from pipeline.host.system import process
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.kickstart import repositories, syntax
from pipeline.steps.kickstart.render import SENTINEL, disk_name
from pipeline.steps.kickstart.syntax import Kickstart

_FAMILIES = {"rhel": "Red Hat Enterprise Linux", "centos": "CentOS"}
_DISK_OPTIONS = ("only-use", "drives", "ondisk", "ondrive", "boot-drive", "driveorder")
# What an installer asks a person for when the file does not say it.
_ANSWERS = {
    "lang": ("lang",),
    "keyboard": ("keyboard",),
    "timezone": ("timezone",),
    "rootpw": ("rootpw",),
    "bootloader": ("bootloader",),
    "zerombr": ("zerombr",),
    "clearpart": ("clearpart",),
    "part": ("part", "partition", "autopart"),
    "text or cmdline": ("text", "cmdline"),
    "cdrom or url": ("cdrom", "url"),
}
_VALIDATOR = Path(sys.executable).parent / "ksvalidator"
_FETCHES = ("%include", "%ksappend")


def require(text: str, recipe: Recipe, info: TreeInfo, offers: Mapping[str, Repodata]) -> None:
    """Raise ``PipelineError`` with every problem that ``text``, the finished kickstart, has.

    ``offers``: what the media and each repository have, by a name for people.
    """
    kickstart = syntax.parse(text)
    problems = [
        *_release(recipe, info),
        *_validity(text, info),
        *_inclusions(text),
        *_disks(kickstart, disk_name(recipe), recipe),
        *_packages(kickstart, offers),
        *_answers(kickstart),
        *_ending(kickstart),
    ]
    if problems:
        count = "one mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        raise PipelineError(
            f"the kickstart of {recipe.name} has {count}",
            details=problems,
            hint="lines are those of the finished file, which is kept as kickstart.ks with the evidence of this run",
        )


def _release(recipe: Recipe, info: TreeInfo) -> Iterator[str]:
    wanted, found = recipe.os.version.split("."), info.version.split(".")
    family = _FAMILIES.get(recipe.os.distro)
    if family and not info.family.startswith(family):
        yield f"the media install {info.release}, the recipe says os.distro: {recipe.os.distro}"
    # A recipe or medium that names the major release only means any of its minor ones.
    elif any(mine != theirs for mine, theirs in zip(wanted, found, strict=False)):
        yield f"the media install {info.release}, the recipe says os.version: {recipe.os.version!r}"
    if info.architecture != str(recipe.architecture):
        yield f"the media are for {info.architecture}, the recipe is for {recipe.architecture}"


def _validity(text: str, info: TreeInfo) -> Iterator[str]:
    """What pykickstart, the installer's own parser, says. A program of its own: the text is hostile."""
    release = f"RHEL{info.version.partition('.')[0]}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kickstart.ks")
        file.write_text(text, encoding="utf-8")
        # It leaves a copy of the text, with its secrets, in the folder for temporary files.
        finished = process.run([_VALIDATOR, "-e", "-v", release, file], timeout=60, check=False, env={"TMPDIR": folder})
    if finished.status:
        said = [line.strip() for line in (finished.stdout + finished.stderr).splitlines() if line.strip()]
        told = [line for line in said if not line.startswith("Checking kickstart file")]
        yield f"not valid for {release}: {' '.join(told) or 'pykickstart refuses it'}"


def _inclusions(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.split(maxsplit=1)[:1] and line.split(maxsplit=1)[0] in _FETCHES:
            yield f"line {number}: {line.split()[0]} is not looked into: put the text itself here"


def _disks(kickstart: Kickstart, disk: str, recipe: Recipe) -> Iterator[str]:
    bus = recipe.image_properties.get("hw_disk_bus", "virtio")
    for command in kickstart.commands:
        for option in _DISK_OPTIONS:
            for name in (command.option(option) or "").split(","):
                plain = name.strip().removeprefix("/dev/")
                if re.fullmatch(r"(?:[hsv]d[a-z]+|nvme\d+n\d+)\d*", plain) and plain != disk:
                    yield (
                        f"line {command.line}: {command.name} --{option} names the disk {plain}, "
                        f"but on the {bus} bus (hw_disk_bus) the guest's disk is {disk}"
                    )


def _packages(kickstart: Kickstart, offers: Mapping[str, Repodata]) -> Iterator[str]:
    if not repositories.all_known(kickstart):
        return
    every = Repodata.together(offers.values())
    where = ", ".join(offers)
    for name, line in kickstart.packages:
        if not _is_offered(name, every):
            yield f"line {line}: no package {name} on {where}{_nearest(name, every.packages)}"
    for name, line in kickstart.groups:
        if not every.has_group(name):
            known = ", ".join(sorted(every.groups)[:10]) or "none"
            yield f"line {line}: no group @{name} on {where} (groups: {known})"


def _is_offered(name: str, every: Repodata) -> bool:
    plain = re.sub(r"\.(?:x86_64|noarch|i[3-6]86)$", "", name)
    if "*" in plain or "?" in plain:
        return any(fnmatch.fnmatchcase(package, plain) for package in every.packages)
    return plain in every.packages or plain in every.provides


def _nearest(name: str, packages: Collection[str]) -> str:
    import difflib

    found = difflib.get_close_matches(name, packages, 1)
    return f"; did you mean {found[0]}?" if found else ""


def _answers(kickstart: Kickstart) -> Iterator[str]:
    said = {command.name for command in kickstart.commands}
    for what, names in _ANSWERS.items():
        if not said.intersection(names):
            yield f"{what} is missing: the installer would wait for a person to answer"


def _ending(kickstart: Kickstart) -> Iterator[str]:
    endings = list(kickstart.named("poweroff", "halt", "reboot", "shutdown"))
    if not endings or endings[-1].name != "poweroff":
        yield "poweroff is missing: the guest would not stop when it is done"
    posts: Sequence[syntax.Script] = [script for script in kickstart.scripts if script.name == "%post"]
    for script in posts:
        if "--erroronfail" not in script.words:
            yield f"line {script.line}: %post without --erroronfail: its failure would pass for success"
        if not re.search(r"^\s*set\s+-\w*e", script.text, re.MULTILINE):
            yield f"line {script.line}: %post without 'set -e': only its last command's failure would count"
    if not any(SENTINEL in script.text for script in posts):
        yield 'no %post ends with the line: echo "{{ sentinel }}" > /dev/ttyS0, the only proof of success'
