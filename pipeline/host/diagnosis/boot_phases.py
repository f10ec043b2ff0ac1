"""Tell how far an installation or a boot has come, by what it says on its serial line."""

from __future__ import annotations

import re

# The last one that was said is the phase. Anaconda's words are those of its text mode (RHEL 6, 7 and later).
_PHASES: dict[str, tuple[str, ...]] = {
    "firmware": (r"SeaBIOS", r"UEFI Interactive Shell", r"BdsDxe: "),
    "boot loader": (r"GNU GRUB", r"(ISO|SYS|EXT)LINUX \d", r"Booting `", r"systemd-boot"),
    "kernel": (r"Linux version \d", r"Booting the kernel"),
    "initramfs": (r"Run /init as init process", r"dracut: ", r"Loading, please wait", r"Begin: "),
    "root file system": (r"systemd\[1\]: Set hostname", r"Switching root", r"switch_root"),
    "installer started": (
        *(r"[Ss]tarting installer", r"Running anaconda", r"anaconda \S+ for .* started"),
        *(r"detecting hardware", r"Loading additional components"),
    ),
    "fetching the installer": (r"dracut-initqueue.*curl", r"Retrieving \S*\.img", r"Downloading a file"),
    "pre-installation scripts": (r"Running pre-install",),
    "partitioning": (
        *(r"Saving storage configuration", r"Creating \w+ on /dev", r"Partitions formatting"),
        *(r"Formatting", r"Starting package installation process"),
    ),
    "choosing packages": (
        *(r"Checking software selection", r"Preparing transaction", r"Dependency [Cc]heck"),
        r"Checking for new repos",
    ),
    "installing packages": (
        *(r"Installing \S+ \(?\d+/\d+", r"Installing (software|packages)", r"Unpacking ", r"Packages completed"),
        r"Retrieving \S+ \(",
    ),
    "boot loader installation": (r"Installing boot ?loader", r"Installing GRUB", r"grub-install"),
    "post-installation scripts": (r"Running post-install", r"Performing post-installation setup"),
    "end of the installation": (
        *(r"Storing configuration files", r"Installation complete"),
        r"Finishing the installation",
    ),
    "services": (r"Reached target", r"Welcome to .*!"),
    "cloud-init": (r"Cloud-init v\. \S+ running",),
    "first boot is over": (r"Cloud-init v\. \S+ finished", r"login: "),
    "powering off": (r"Power down", r"System halted", r"Requesting system poweroff"),
}
_COMPILED = [(name, re.compile("|".join(patterns))) for name, patterns in _PHASES.items()]


def phase(text: str) -> str | None:
    """Return the phase that what was said last belongs to, or ``None`` when nothing is known by its words."""
    latest, found = -1, None
    for name, pattern in _COMPILED:
        for match in pattern.finditer(text):
            if match.start() >= latest:
                latest, found = match.start(), name
    return found
