"""Lint a kickstart against the media, the repositories and the hardware, before any guest is started.

What would hang or fail after an hour of installing is told within seconds, all of it at once.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from pipeline.base.errors import PipelineError
from pipeline.host.install.install_tree import TreeInfo
from pipeline.host.install.repodata import Repodata
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.kickstart import repositories, syntax, validity
from pipeline.steps.kickstart.render import SENTINEL, disk_name
from pipeline.steps.kickstart.syntax import Kickstart

_FAMILIES = {"rhel": "Red Hat Enterprise Linux", "centos": "CentOS"}
_DISK_OPTIONS = ("only-use", "drives", "ondisk", "ondrive", "boot-drive", "driveorder")
_PARTITION_OPTIONS = ("onpart", "usepart", "list")
# A disk that is not there is passed over in these, with a line in the installer's log.
_PASSED_OVER = frozenset({"driveorder"})
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
    "text, cmdline or graphical": ("text", "cmdline", "graphical"),
    "cdrom or url": ("cdrom", "url", "nfs", "harddrive", "hmc", "liveimg", "ostreesetup"),
}
_POWER_OFF = frozenset({"poweroff", "shutdown"})  # two names of one act: FC3_Reboot.parse of pykickstart
# "set" or a shell of its own, with an option that ends it at the first command that fails.
_ENDS_AT_FAILURE = re.compile(
    r"(?:^|[;&|({])[ \t]*(?:exec[ \t]+)?(?:set|(?:/\S*/)?(?:ba|da|k|z)?sh)[ \t]+"
    r"(?:[-+]\w+[ \t]+(?:pipefail[ \t]+)?)*(?:-\w*e\w*\b|-\w*o[ \t]+errexit\b)",
    re.MULTILINE,
)


def require(text: str, recipe: Recipe, info: TreeInfo, offers: Mapping[str, Repodata]) -> Sequence[str]:
    """Raise ``PipelineError`` with every problem that ``text``, the finished kickstart, has.

    Returns what its installer would pass over, for people. ``offers``: what the media and each repository have, by a
    name for people.
    """
    kickstart = syntax.parse(text)
    verdict = validity.judge(text, kickstart, info)
    included = list(_inclusions(text, kickstart))
    missing = list(_packages(kickstart, offers))
    answers = list(_answers(kickstart))
    problems = [
        *_release(recipe, info),
        *verdict.errors,
        *(problem for passes, problem in included if not passes),
        *(problem for passes, problem in _disks(kickstart, disk_name(recipe), recipe) if not passes),
        *([] if kickstart.ignores_missing else missing),
        *([] if included else answers),
        *_ending(kickstart),
    ]
    if problems:
        count = "one mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        raise PipelineError(
            f"the kickstart of {recipe.name} has {count}",
            details=problems,
            hint="lines are those of the finished file, which is kept as kickstart.ks with the evidence of this run",
        )
    return [
        *verdict.warnings,
        *(problem for _, problem in included),
        *(problem for _, problem in _disks(kickstart, disk_name(recipe), recipe)),
        *missing,
        *answers,
    ]


def _release(recipe: Recipe, info: TreeInfo) -> Iterator[str]:
    expected, found = recipe.os.version.split("."), info.version.split(".")
    family = _FAMILIES.get(recipe.os.distro)
    if family and not info.family.startswith(family):
        yield f"the media install {info.release}, the recipe says os.distro: {recipe.os.distro}"
    # A recipe or medium that names the major release only means any of its minor ones.
    elif any(mine != theirs for mine, theirs in zip(expected, found, strict=False)):
        yield f"the media install {info.release}, the recipe says os.version: {recipe.os.version!r}"
    if info.architecture != str(recipe.architecture):
        yield f"the media are for {info.architecture}, the recipe is for {recipe.architecture}"


def _inclusions(text: str, kickstart: Kickstart) -> Iterator[tuple[bool, str]]:
    """Each with whether it may pass: a file that the kickstart's own %pre writes is there when it is asked for."""
    written = "\n".join(script.text for script in kickstart.scripts if script.name == "%pre")
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(maxsplit=2)
        if words[:1] == ["%include"] and len(words) > 1 and words[1].startswith("/") and words[1] in written:
            yield True, f"line {number}: {words[1]} is written by %pre: what stands in it is not looked into"
        elif words and words[0] in ("%include", "%ksappend"):
            yield False, f"line {number}: {words[0]} is not looked into: put the text itself here"


def _disks(kickstart: Kickstart, disk: str, recipe: Recipe) -> Iterator[tuple[bool, str]]:
    """Each with whether the installer goes on without that disk."""
    bus = recipe.image_properties.get("hw_disk_bus", "virtio")
    for command in kickstart.commands:
        for option in (*_DISK_OPTIONS, *_PARTITION_OPTIONS):
            for name in (command.option(option) or "").split(","):
                plain = name.strip().removeprefix("/dev/")
                found = re.fullmatch(r"((?:[hsv]|xv)d[a-z]+|nvme\d+n\d+(?=p|$)|mmcblk\d+(?=p|$))(p?\d*)", plain)
                if found and (found[1] != disk or (found[2] and option in _DISK_OPTIONS)):
                    what = "partition" if option in _PARTITION_OPTIONS and found[2] else "disk"
                    text = f"line {command.line}: {command.name} --{option} names the {what} {plain}"
                    where = f"on the {bus} bus (hw_disk_bus) the guest's disk is {disk}"
                    yield option in _PASSED_OVER, f"{text}, but {where}"


def _packages(kickstart: Kickstart, offers: Mapping[str, Repodata]) -> Iterator[str]:
    if not repositories.all_known(kickstart):
        return
    every = Repodata.together(offers.values())
    where = ", ".join(offers)
    for name, line in kickstart.packages:
        if not name.startswith("/") and not _is_offered(name, every):
            yield f"line {line}: no package {name} on {where}{_nearest(name, every.packages)}"
    for name, line in kickstart.groups:
        # "perl:5.26/common" is a module's stream and profile (release 8), which are no groups.
        if not re.search("[:/]", name) and not every.has_group(name):
            known = ", ".join(sorted(every.groups)[:10]) or "none"
            yield f"line {line}: no group @{name} on {where} (groups: {known})"


def _is_offered(name: str, every: Repodata) -> bool:
    plain = re.sub(r"\.(?:x86_64|noarch|i[3-6]86)$", "", name)
    if "*" in plain or "?" in plain:
        return any(fnmatch.fnmatchcase(package, plain) for package in every.packages)
    if plain in every.packages or plain in every.provides:
        return True
    # "kernel-2.6.32-754.el6": yum takes a version with the name.
    return any(plain[: each.start()] in every.packages for each in re.finditer(r"-(?=\d)", plain))


def _nearest(name: str, packages: Collection[str]) -> str:
    import difflib

    found = difflib.get_close_matches(name, packages, 1)
    return f"; did you mean {found[0]}?" if found else ""


def _answers(kickstart: Kickstart) -> Iterator[str]:
    commands = {command.name for command in kickstart.commands}
    for what, names in _ANSWERS.items():
        if not commands.intersection(names):
            yield f"{what} is missing: the installer would wait for a person to answer"


def _ending(kickstart: Kickstart) -> Iterator[str]:
    endings = list(kickstart.named("poweroff", "halt", "reboot", "shutdown"))
    if not endings or endings[-1].name not in _POWER_OFF:
        yield "poweroff is missing: the guest would not stop when it is done"
    posts: Sequence[syntax.Script] = [script for script in kickstart.scripts if script.name == "%post"]
    for script in posts:
        if "--erroronfail" not in script.words:
            yield f"line {script.line}: %post without --erroronfail: its failure would pass for success"
        if " " in script.interpreter:
            yield (
                f"line {script.line}: --interpreter is the name of one program, without options: "
                f"the installer would look for a file called {script.interpreter!r}"
            )
        elif script.is_shell and not _ENDS_AT_FAILURE.search(script.text):
            shebang = script.text.lstrip().startswith("#!")
            why = " (the installer takes --interpreter, not the script's #! line)" if shebang else ""
            yield f"line {script.line}: %post without 'set -e': only its last command's failure would count{why}"
    if not any(SENTINEL in script.text for script in posts):
        yield 'no %post ends with the line: echo "{{ sentinel }}" > /dev/ttyS0, the only proof of success'
