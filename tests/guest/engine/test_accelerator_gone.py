"""A machine whose KVM worked when it was probed and does so no more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.home import Home
from pipeline.engine.build import build
from pipeline.engine.record.result import BuildResult
from pipeline.engine.run.options import BuildOptions
from pipeline.engine.units.step_entry import StepEntry
from pipeline.host.qemu import accelerator, guest
from pipeline.host.qemu import command as qemu_command
from pipeline.steps.step import Context, Stage
from tests import leftovers
from tests.integration.engine import light


class Boot(light.Boot):
    """Starts a guest for a moment."""

    def work(self, context: Context) -> Mapping[str, Any]:
        disk = context.folder / "disk"
        # A boot sector that loops for ever.
        disk.write_bytes(b"\xeb\xfe".ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
        machine = qemu_command.Machine("moment", context.accelerator, disks=[qemu_command.GuestDisk(disk, "raw")])
        with guest.running(machine, context.evidence) as running:
            return {"ran": running.is_running()}


@pytest.mark.guest
def test_a_lost_accelerator_is_the_cause_and_the_next_run_does_without(home: Home, tmp_path: Path) -> None:
    if accelerator.probe(home).name == "kvm":
        pytest.skip("KVM works here")
    steering = tmp_path / "steering"
    steering.mkdir()
    layers = light.steps(steering)[:3]
    steps = [*layers, StepEntry(Boot(steering, "boot", Stage.RECORD))]

    def run() -> BuildResult:
        (result,) = build([light.recipe()], BuildOptions(home=home), steps=steps)
        return result

    file = home.root / "accelerator.json"
    known = json.loads(file.read_text())
    known["found"]["name"] = "kvm"
    file.write_text(json.dumps(known))
    first = run()
    assert first.error is not None
    assert "light: boot failed: QEMU did not start" in first.error.message
    assert any("kvm" in line.lower() for line in first.error.details), first.error.details
    assert leftovers.of(home) == []
    second = run()
    assert second.is_good, second.error
    assert [step.name for step in second.steps if step.status == "ran"] == ["boot"]
    assert accelerator.probe(home).name == "tcg"
