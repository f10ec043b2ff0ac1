"""Compare what a recipe says of its image with what inspection finds in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.image.properties import PropertyProblem

# libguestfs's names (guestfs(3), inspect_get_distro and inspect_get_arch) where OpenStack has others.
_DISTROS = {"archlinux": "arch", "oraclelinux": "ol", "redhat-based": "", "suse-based": "", "unknown": ""}
_ARCHITECTURES = {"i386": "i686", "unknown": ""}
_GUEST_AGENTS = frozenset({"qemu-guest-agent", "qemu guest agent", "qemu-ga"})


@dataclass(frozen=True)
class InspectedGuest:
    """An operating system as libguestfs sees it. Empty strings and ``None`` mean: not found out.

    ``product``: its full name. ``packages``: names of what is installed, ``None`` when that cannot be read.
    """

    type: str = ""
    distro: str = ""
    product: str = ""
    major: int | None = None
    minor: int | None = None
    architecture: str = ""
    packages: frozenset[str] | None = None

    @classmethod
    def from_facts(cls, found: Mapping[str, Any]) -> InspectedGuest:
        """Read the facts of the offline stage's inspection, which are JSON data."""
        packages = found["packages"]
        agent = ["qemu-guest-agent"] if found["guest_agent"] else []
        return cls(
            type=found["type"],
            distro=found["distro"],
            product=found["product"],
            major=found["major"],
            minor=found["minor"],
            architecture=found["architecture"],
            packages=None if packages is None else frozenset([*packages, *agent]),
        )


def derive(found: InspectedGuest) -> dict[str, str]:
    """Return the image properties that inspection proves."""
    derived = {
        "architecture": _ARCHITECTURES.get(found.architecture, found.architecture),
        "os_type": found.type if found.type in ("linux", "windows") else "",
        "os_distro": _DISTROS.get(found.distro, found.distro),
        "os_version": _version(found),
    }
    if found.packages is not None:
        agent = any(name.lower() in _GUEST_AGENTS for name in found.packages)
        derived["hw_qemu_guest_agent"] = "yes" if agent else "no"
    return {name: value for name, value in derived.items() if value}


def compare(claimed: Mapping[str, str], found: InspectedGuest) -> list[PropertyProblem]:
    """Return where ``claimed`` says something else than the image."""
    wrong = []
    for name, real in derive(found).items():
        claim = claimed.get(name)
        if claim is not None and not _agree(name, claim, real, found):
            wrong.append(PropertyProblem(name, f"the recipe says {claim!r}, the image is {real!r}"))
    return wrong


def _agree(name: str, claim: str, real: str, found: InspectedGuest) -> bool:
    if name == "os_version":
        return _same_version(claim, found)
    if name == "hw_qemu_guest_agent":
        # An installed agent may be left unmentioned or switched off; a promised one must be there.
        return claim in ("no", "false") or real == "yes"
    return claim == real


def _version(found: InspectedGuest) -> str:
    if found.type == "windows":
        year = re.search(r"\b(20\d\d(?: R2)?|1[01]|8\.1|[78])\b", found.product)
        return year[1] if year else ""
    if found.major is None or (found.major == 0 and not found.minor):
        return ""
    if not found.minor:  # libguestfs gives 0 for "12" and for "12.0"
        return str(found.major)
    minor = f"{found.minor:02}" if found.distro == "ubuntu" else str(found.minor)
    return f"{found.major}.{minor}"


def _same_version(claim: str, found: InspectedGuest) -> bool:
    real = _version(found)
    if found.type == "windows" or claim == real:
        return claim == real
    numbers = [int(part) for part in re.findall(r"\d+", claim)]
    known = [int(part) for part in re.findall(r"\d+", real)]
    # Either may be more exact than the other: 12 and 12.5, 0.4.0 and 0.4.
    shared = min(len(numbers), len(known))
    return shared > 0 and numbers[:shared] == known[:shared]
