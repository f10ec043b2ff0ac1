from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.qemu import firmware


def describe(folder: Path, name: str, **changes: Any) -> Path:
    code, variables = folder / f"{name}.code", folder / f"{name}.vars"
    code.write_bytes(b"")
    variables.write_bytes(b"")
    description = {
        "interface-types": ["uefi"],
        "mapping": {
            "device": "flash",
            "executable": {"filename": str(code), "format": "raw"},
            "nvram-template": {"filename": str(variables), "format": "raw"},
        },
        "targets": [{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}],
        "features": [],
        **changes,
    }
    (folder / f"{name}.json").write_text(json.dumps(description))
    return code


Q35_ONLY = [{"architecture": "x86_64", "machines": ["pc-q35-*"]}]


def test_the_first_that_fits_is_taken(tmp_path: Path) -> None:
    describe(tmp_path, "40-secure", features=["secure-boot", "enrolled-keys", "requires-smm"], targets=Q35_ONLY)
    describe(tmp_path, "50-smm", features=["secure-boot", "requires-smm"], targets=Q35_ONLY)
    describe(tmp_path, "55-arm", targets=[{"architecture": "aarch64", "machines": ["virt-*"]}])
    plain = describe(tmp_path, "60-plain")
    describe(tmp_path, "70-later")
    assert firmware.find("pc", folders=(tmp_path,)).code == plain
    assert firmware.find("q35", folders=(tmp_path,)).code == plain


def test_secure_boot_needs_enrolled_keys_and_smm(tmp_path: Path) -> None:
    secure = describe(
        tmp_path, "40-secure", features=["secure-boot", "enrolled-keys", "requires-smm"], targets=Q35_ONLY
    )
    found = firmware.find("q35", secure_boot=True, folders=(tmp_path,))
    assert found.code == secure
    assert found.needs_smm
    with pytest.raises(PipelineError, match="with Secure Boot for machine type pc"):
        firmware.find("pc", secure_boot=True, folders=(tmp_path,))


def test_an_operators_descriptor_hides_the_packages_one(tmp_path: Path) -> None:
    packaged, own = tmp_path / "usr", tmp_path / "etc"
    packaged.mkdir()
    own.mkdir()
    describe(packaged, "60-plain")
    ours = describe(own, "60-plain")
    assert firmware.find("pc", folders=(own, packaged)).code == ours


def test_without_firmware_the_error_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(PipelineError) as caught:
        firmware.find("pc", folders=(tmp_path,))
    assert "apt install ovmf" in str(caught.value)


def test_a_descriptor_whose_files_are_gone_is_passed_over(tmp_path: Path) -> None:
    describe(tmp_path, "50-gone").unlink()
    plain = describe(tmp_path, "60-plain")
    assert firmware.find("pc", folders=(tmp_path,)).code == plain


def test_a_firmware_is_known_by_its_bytes(tmp_path: Path) -> None:
    code = describe(tmp_path, "one")
    empty = hashlib.sha256(b"").hexdigest()
    assert firmware.digests("pc", uefi=True, folders=(tmp_path,)) == {"one.code": empty, "one.vars": empty}
    code.write_bytes(b"newer")
    assert firmware.digests("pc", uefi=True, folders=(tmp_path,))["one.code"] == hashlib.sha256(b"newer").hexdigest()


@pytest.mark.subprocess
def test_the_bios_is_qemus_own() -> None:
    ((name, digest),) = firmware.digests("q35", uefi=False).items()
    assert name == "bios-256k.bin" and len(digest) == 64
