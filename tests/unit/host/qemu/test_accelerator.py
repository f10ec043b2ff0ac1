import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.host.qemu import accelerator
from pipeline.host.qemu.accelerator import Accelerator
from pipeline.host.system import process

_TCG = Accelerator("tcg", 11.0, "there is no /dev/kvm")


@pytest.fixture
def boots(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands in for the guest: notes what was booted; KVM does not work. tests/guest boots a real one."""
    booted = []

    def boot(name: str, deadline: float) -> float:
        booted.append(name)
        if name == "kvm":
            raise process.ProcessFailed(["qemu"], "was ended by SIGABRT", "qemu: error: failed to set MSR\nAborted")
        return 11.0

    monkeypatch.setattr(accelerator, "_boot", boot)
    monkeypatch.setattr(accelerator, "_version", lambda: "QEMU 7.2")
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    monkeypatch.setattr(Path, "exists", lambda path: True)
    return booted


def test_emulation_when_kvm_does_not_boot_and_why(home: Home, boots: list[str]) -> None:
    found = accelerator.probe(home)
    assert (found.name, found.slowdown) == ("tcg", 11.0)
    assert found.why == "/dev/kvm is there but does not work: failed to set MSR"
    assert boots == ["kvm", "tcg"]


def test_the_answer_is_remembered_until_something_changes(
    home: Home, boots: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = accelerator.probe(home)
    assert accelerator.probe(home) == first
    assert boots == ["kvm", "tcg"]
    monkeypatch.setattr(accelerator, "_version", lambda: "QEMU 8.0")
    accelerator.probe(home)
    assert boots == ["kvm", "tcg"] * 2


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"circumstances": {}, "found": {"name": 1}}'])
def test_a_damaged_memory_is_no_answer(home: Home, boots: list[str], content: str) -> None:
    home.root.mkdir()
    (home.root / "accelerator.json").write_text(content)
    assert accelerator.probe(home).name == "tcg"


def test_a_remembered_answer_must_be_one_we_know(home: Home, boots: list[str]) -> None:
    accelerator.probe(home)
    file = home.root / "accelerator.json"
    known = json.loads(file.read_text())
    known["found"]["name"] = "xen"
    file.write_text(json.dumps(known))
    assert accelerator.probe(home).name == "tcg"


def test_a_setting_decides_without_a_boot(home: Home, boots: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_ACCELERATOR", "kvm")
    assert accelerator.probe(home).name == "kvm"
    assert boots == []
    monkeypatch.setenv("PIPELINE_ACCELERATOR", "xen")
    with pytest.raises(PipelineError, match="PIPELINE_ACCELERATOR=xen: unknown"):
        accelerator.probe(home)


def test_every_tool_is_told_in_its_own_words() -> None:
    assert (_TCG.guestfs_settings, _TCG.qemu_args[:2]) == (("force_tcg",), ("-accel", "tcg,thread=multi"))
    kvm = replace(_TCG, name="kvm")
    assert (kvm.guestfs_settings, kvm.qemu_args[:2]) == (("force_kvm",), ("-accel", "kvm"))
