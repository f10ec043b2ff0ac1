"""No service starts while Debian's packages change, and what forbids it is gone afterwards; a guest's own policy stays.

The package is a stand-in; Debian's own invoke-rc.d(8), by which packages start services, decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.host.system import process
from pipeline.recipes.model.guest import Customize
from pipeline.steps.offline import packages

pytestmark = pytest.mark.guest

POLICY = "/usr/sbin/policy-rc.d"
START = "invoke-rc.d svc start || exit $?\n"
SCRIPTS = {
    "/sbin/runlevel": "echo N 5\n",
    "/etc/init.d/svc": "echo $1 >>/started\n",
    # What each call comes to is in its last words; a package's script starts its service.
    "/usr/bin/apt-get": f"""case "$*" in
*" update") ;;
*broken) {START}exit 100 ;;
*) {START} ;;
esac
""",
}


@pytest.fixture(scope="module")
def system(tiny_disk: Path, appliance_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuestSystem]:
    folder = tmp_path_factory.mktemp("packages")
    overlay = folder / "overlay.qcow2"
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", tiny_disk, overlay])
    with (folder / "log").open("w+b") as log:
        appliance = Appliance("tcg", appliance_cache, folder, log)
        with appliance.launched([Drive(overlay, "qcow2")]) as handle:
            opened = GuestSystem.open(handle, log)
            opened.write("/usr/sbin/invoke-rc.d", Path("/usr/sbin/invoke-rc.d").read_bytes(), mode=0o755)
            for path, text in SCRIPTS.items():
                opened.write(path, f"#!/bin/sh\n{text}", mode=0o755)
            handle.mkdir("/etc/rc5.d")
            handle.ln_s("../init.d/svc", "/etc/rc5.d/S01svc")
            yield GuestSystem(handle, replace(opened.identity, package_tool="apt"), "", log)


def started(system: GuestSystem) -> list[str]:
    found = system.read("/started").split()
    system.remove(["/started"])
    system.forget()
    return found


def test_services_are_started_where_nothing_forbids_it(system: GuestSystem) -> None:
    system.run(START, "starting")
    assert started(system) == ["start"]


@pytest.mark.parametrize("wishes", [{"update": True}, {"packages": ["svc"]}, {"remove_packages": ["svc"]}])
def test_no_service_starts_while_packages_change(system: GuestSystem, wishes: dict[str, object]) -> None:
    packages.change(system, Customize.model_validate(wishes))
    assert started(system) == [] and not system.exists(POLICY)


def test_nothing_is_left_of_it_when_a_command_fails(system: GuestSystem) -> None:
    with pytest.raises(PipelineError, match="installing broken failed in the guest with status 100"):
        packages.change(system, Customize.model_validate({"packages": ["broken"]}))
    assert started(system) == [] and not system.exists(POLICY)


def test_a_guests_own_policy_stays(system: GuestSystem) -> None:
    own = "#!/bin/sh\nexit 0\n"
    system.write(POLICY, own, mode=0o755)
    for name in ("svc", "broken"):
        try:
            packages.change(system, Customize.model_validate({"packages": [name]}))
        except PipelineError:
            assert name == "broken"
        assert system.read(POLICY) == own
    assert system.handle.statns(POLICY)["st_mode"] & 0o777 == 0o755
    system.remove([POLICY])
