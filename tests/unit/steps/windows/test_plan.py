"""Plan the work inside of Windows, without any guest."""

from __future__ import annotations

import json

from pipeline.steps.windows import check, plan
from tests.unit.steps.windows.shipped import load


def test_the_plan_ends_with_sysprep_and_forgets_the_logon_before() -> None:
    done = [action["do"] for phase in plan.PHASES for action in phase]
    assert done[-1] == "sysprep"
    assert done.count("sysprep") == 1
    forgotten = {action["value"] for action in plan.PHASES[-1] if action["do"] == "forget"}
    assert {"DefaultPassword", "AutoAdminLogon"} <= forgotten


def test_the_script_knows_every_action_of_the_plan() -> None:
    _, install = load("windows-2022")
    files = plan.files(install)
    script = files["build/setup.ps1"].decode()
    for phase in json.loads(files["build/plan.json"])["phases"]:
        for action in phase:
            assert f"'{action['do']}' {{" in script
            if action["do"] == "copy":
                assert f"build/{action['file']}".replace("\\", "/") in files
    assert b"username=Administrator\r\n" in files["build/conf/cloudbase-init.conf"]
    assert all(b"{{" not in files[name] for name in files if "/conf/" in name)


def test_cloudbase_init_does_not_restart_within_setup_and_leaves_the_network_alone() -> None:
    said = (plan.HERE / "conf" / "cloudbase-init-unattend.conf").read_text()
    assert {"allow_reboot=false", "stop_service_on_exit=false", "check_latest_version=false"} <= set(said.splitlines())
    assert "networkconfig" not in said


def test_sysprep_that_gives_up_ends_the_build() -> None:
    script = (plan.HERE / "guest" / "setup.ps1").read_text()
    assert (
        script.index("Sysprep.exe") < script.index(f"-ne '{check.GENERALIZED}'") < script.index('throw "sysprep left')
    )
