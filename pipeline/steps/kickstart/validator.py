# SPDX-License-Identifier: MIT
"""Validate one kickstart: the program that ``validity`` runs in a sandbox.

It reads a JSON object with ``text`` and ``release`` (``RHEL6``) from standard input and prints one with ``errors`` and
``warnings``, each a list of ``[line, words]``. It imports nothing of ours; pykickstart (GPL) is there where it runs, so
this file alone has a licence that goes with it.
"""

from __future__ import annotations

import json
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# pykickstart imports it for files on servers, of which there are none here.
_requests = types.ModuleType("requests")
_exceptions = types.ModuleType("requests.exceptions")
vars(_exceptions).update(SSLError=OSError, RequestException=OSError)
vars(_requests)["exceptions"] = _exceptions
sys.modules.update({"requests": _requests, "requests.exceptions": _exceptions})

from pykickstart import commands, options, parser, sections, version  # noqa: E402
from pykickstart.errors import KickstartError, KickstartVersionError  # noqa: E402

# Where the installer of a release takes another class than this pykickstart's table for that release: the table of the
# pykickstart that the release ships (its branches rhel6-branch, rhel7-branch) and "commandMap" in kickstart.py of
# anaconda (its branches of the same names). A class that this pykickstart does not have is the nearest one.
_INSTALLERS: dict[str, dict[str, Any]] = {
    "RHEL6": {"zerombr": commands.zerombr.FC3_ZeroMbr},
    "RHEL7": {
        "firewall": commands.firewall.F28_Firewall,
        "ignoredisk": commands.ignoredisk.RHEL6_IgnoreDisk,
        "mount": commands.mount.F27_Mount,
        "sshkey": commands.sshkey.F22_SshKey,
        "sshpw": commands.sshpw.F24_SshPw,
        "url": commands.url.F30_Url,
        **dict.fromkeys(("halt", "poweroff", "reboot", "shutdown"), commands.reboot.F23_Reboot),
    },
}
_DATA: dict[str, dict[str, Any]] = {
    "RHEL7": {
        "MountData": commands.mount.F27_MountData,
        "SshKeyData": commands.sshkey.F22_SshKeyData,
        "SshPwData": commands.sshpw.F24_SshPwData,
    },
}
# Sections that came later than a release.
_LATER = {
    "RHEL6": ("%pre-install", "%onerror", "%addon", "%anaconda", "%certificate"),
    **dict.fromkeys(("RHEL7", "RHEL8", "RHEL9"), ("%certificate",)),
}
# Whose parse in those branches leaves words alone that belong to nothing: "(opts, _extra) = ...parse_args(...)".
_PASSING_WORDS = frozenset(
    (
        *("autopart", "bootloader", "clearpart", "dmraid", "firstboot", "group", "harddrive", "ignoredisk", "logging"),
        *("multipath", "network", "nfs", "reboot", "selinux", "services", "url", "user", "vnc", "zfcp"),
        *("%packages", "%pre", "%pre-install", "%post", "%onerror", "%traceback"),
    )
)
_UNCLOSED = "does not end with %end"


class PackagesOf6(sections.PackageSection):  # type: ignore[misc]
    """The section as release 6 knows it: with ``--nocore`` (handlePackageHdr in its parser.py)."""

    def _getParser(self) -> Any:  # noqa: N802 - pykickstart's name
        made = super()._getParser()
        made.add_argument("--nocore", action="store_true", default=False, version=version.RHEL6, help="without @core")
        return made


class OptionsOf7(options.KSOptionParser):  # type: ignore[misc]
    """Options as releases 6 and 7 read them: by optparse, which leaves it to each command what other words mean."""

    def parse_args(self, *args: Any, lineno: int | None = None, **more: Any) -> Any:
        """Return the options. Raises pykickstart's error for what the command itself refuses."""
        if self.prog.partition("|")[0] not in _PASSING_WORDS:
            return super().parse_args(*args, lineno=lineno, **more)
        found, words = self.parse_known_args(*args, lineno=lineno, **more)
        if any(word.startswith("-") for word in words):
            return super().parse_args(*args, lineno=lineno, **more)  # says what is wrong
        if words:
            warnings.warn(f"{self.prog} passes over {' '.join(words)}", stacklevel=2)
        return found


class Collector(parser.KickstartParser):  # type: ignore[misc]
    """A parser that goes on behind a mistake, and notes it with its line."""

    def __init__(self, handler: Any, release: str, text: str, *, may_stay_open: bool) -> None:
        self.found: list[tuple[int | None, str]] = []
        self.warned: list[tuple[int | None, str]] = []
        self._release = release
        self._lines = text.splitlines(keepends=True)
        super().__init__(handler, followIncludes=False, errorsAreFatal=False)
        if may_stay_open:
            self.version = version.F7  # the last one whose sections end without a word at the next one

    def setupSections(self) -> None:  # noqa: N802 - pykickstart's name
        """Take the sections that the release knows."""
        super().setupSections()
        for name in _LATER.get(self._release, ()):
            self._sections.pop(name, None)
        if self._release == "RHEL6":
            self.registerSection(PackagesOf6(self.handler))

    def handleCommand(self, lineno: int, args: list[str]) -> Any:  # noqa: N802 - pykickstart's name
        """Note what is said of one command, under its line."""
        with self.noted(lineno):
            return super().handleCommand(lineno, args)

    def _tryFunc(self, fn: Callable[[], Any]) -> None:  # noqa: N802 - pykickstart's name
        with self.noted(None):
            fn()

    @contextmanager
    def noted(self, line: int | None) -> Iterator[None]:
        """Note every warning and every error of what is done within."""
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                yield
            except KickstartError as error:
                self.found.append((error.lineno or line or self._place(), str(error.message or error)))
            # What its classes do not expect: shlex's quotations, numbers that are none.
            except (ValueError, TypeError, LookupError, AttributeError, AssertionError) as error:
                self.found.append((line or self._place(), str(error) or type(error).__name__))
        self.warned += [(line or self._place(), str(each.message)) for each in warned]

    def _place(self) -> int | None:
        """Return the line that was read last outside of sections: a section's first, or one that cannot be split."""
        return self._lines.index(self._line) + 1 if self._line in self._lines else None


def validate(text: str, release: str) -> dict[str, Any]:
    """Return what the installer of ``release`` would say of ``text``."""
    try:
        reader = _read(text, release)
    except KickstartVersionError:
        return {"errors": [(None, f"pykickstart does not know {release}")], "warnings": []}
    unclosed = [each for each in reader.found if _UNCLOSED in each[1]]
    # Its _stateMachine warns of it, and goes on.
    if unclosed and release == "RHEL6":
        reader = _read(text, release, may_stay_open=True)
        reader.warned += unclosed
    return {"errors": reader.found, "warnings": reader.warned}


def _read(text: str, release: str, *, may_stay_open: bool = False) -> Collector:
    if release in ("RHEL6", "RHEL7"):
        for module in _modules():
            vars(module)["KSOptionParser"] = OptionsOf7
    handler = version.returnClassForVersion(release)(
        commandUpdates=_INSTALLERS.get(release), dataUpdates=_DATA.get(release)
    )
    reader = Collector(handler, release, text, may_stay_open=may_stay_open)
    with reader.noted(None):
        reader.readKickstartFromString(text)
    return reader


def _modules() -> Iterator[types.ModuleType]:
    """All of pykickstart's modules that make options."""
    return (
        module for name, module in list(sys.modules.items()) if name.startswith("pykickstart.") and module != options
    )


def main() -> None:
    """Answer the one request on standard input."""
    asked = json.load(sys.stdin)
    # Its option parser prints its usage before it raises.
    out, sys.stdout = sys.stdout, sys.stderr
    json.dump(validate(asked["text"], asked["release"]), out)


if __name__ == "__main__":
    main()
