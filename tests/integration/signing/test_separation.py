"""One machine builds, another signs, a third one verifies without a network: three homes, one folder between them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT, Home
from pipeline.base.progress import nothing
from pipeline.cli.handlers import sign as sign_handler
from pipeline.host.system import process
from pipeline.image.sparse import extents
from pipeline.recipes.model.recipe import Recipe
from pipeline.signing.attestation import proof, seal
from pipeline.signing.keys.keyring import Keyring
from pipeline.signing.trust.kinds import KeyKind
from pipeline.steps.digest import DigestStep
from pipeline.steps.sign.step import ABOUT, SignStep
from pipeline.steps.step import Context

pytestmark = [pytest.mark.subprocess, pytest.mark.slow]
MIB = 1 << 20
RECIPE = {
    "name": "small",
    "os": {"type": "linux", "distro": "debian", "version": "12"},
    "disk": {"size": "64MiB"},
    "install": {"method": "tiny"},
    "products": [{"format": "qcow2"}, {"format": "raw"}],
    "signing": {"enabled": False},
}
FACTS: dict[str, dict[str, Any]] = {
    "scan": {
        "report": {"findings": [], "allowed": [], "files": 3},
        "packages": [{"kind": "deb", "name": "a", "version": "1"}],
    },
    "boot_test": {"firmware": {"bios": {}}},
}
POLICY = """
recipes: [small]
builders: ["urn:golden-image-pipeline:builder:unattested"]
max_age: 1d
"""


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """What a build without keys leaves in its folder."""
    folder = tmp_path / "small"
    folder.mkdir()
    products = {each: folder / f"small.{each}" for each in ("qcow2", "raw")}
    products["raw"].write_bytes(os.urandom(32 * MIB))
    process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", products["raw"], products["qcow2"]])
    with (tmp_path / "log").open("wb") as log:
        context = Context(
            recipe=Recipe.model_validate(RECIPE),
            home=Home(tmp_path / "builder", tmp_path / "cache"),
            folder=tmp_path,
            disk=tmp_path / "disk",
            products=products,
            evidence=tmp_path,
            log=log,
            progress=nothing,
            accelerator="tcg",
            layers=tmp_path,
            documents=tmp_path,
            facts=FACTS,
        )
        SignStep().run(replace(context, facts={**FACTS, "digest": DigestStep().run(context)}))
    shutil.move(tmp_path / ABOUT, folder / f"small.{ABOUT}")
    assert not (tmp_path / "builder" / "keys").exists()
    return folder


def inv(home: Path, *words: str | Path, isolated: bool = False) -> tuple[int, str]:
    """What a person types, on the machine whose state lies in ``home``; its status and output."""
    # A network namespace of its own has no way out.
    alone = ["unshare", "--map-root-user", "--net"] if isolated else []
    command = [*alone, sys.executable, "-m", "pipeline.cli", *words]
    ended = process.run(command, check=False, cwd=CHECKOUT, env={"PIPELINE_HOME": str(home)})
    return ended.status, ended.stdout + ended.stderr


@pytest.fixture
def signed(built: Path, tmp_path: Path) -> Path:
    """The folder after the signing machine had it; the trust root stands beside it."""
    assert inv(tmp_path / "signer", "keys.new", "notary", "--kind", "ed25519")[0] == 0
    assert inv(tmp_path / "signer", "keys.new", "release-p256", "--kind", "p256")[0] == 0
    status, said = inv(tmp_path / "signer", "sign", built, "--attest", "notary", "--bundle", "release-p256")
    assert status == 0, said
    assert inv(tmp_path / "signer", "keys.trust", tmp_path / "trust.json")[0] == 0
    return built


@pytest.fixture
def verified(tmp_path: Path) -> Callable[[Path], dict[str, dict[str, str]]]:
    """Verifies a folder by the trust root alone, without a network; the checks of its QCOW2."""
    (tmp_path / "policy.yaml").write_text(POLICY)

    def verify(folder: Path) -> dict[str, dict[str, str]]:
        words = ("verify", folder, "--trust", tmp_path / "trust.json", "--policy", tmp_path / "policy.yaml", "--json")
        status, said = inv(tmp_path / "verifier", *words, isolated=True)
        verdicts = json.loads(said)
        assert [verdict["name"] for verdict in verdicts] == ["small.qcow2", "small.raw"]
        assert status == (0 if all(verdict["good"] for verdict in verdicts) else 1)
        checks: dict[str, dict[str, str]] = verdicts[0]["checks"]
        return checks

    return verify


def test_three_machines(signed: Path, tmp_path: Path, verified: Callable[[Path], dict[str, dict[str, str]]]) -> None:
    assert {check["status"] for check in verified(signed).values()} == {"ok"}
    bundle = json.loads((signed / f"small.qcow2.{seal.BUNDLE}").read_text())
    assert bundle["mediaType"].endswith("v0.3+json") and "messageSignature" in bundle
    assert "dsseEnvelope" in json.loads((signed / f"small.raw.{seal.BUNDLED_PROVENANCE}").read_text())

    # The image and its proof, as they are saved from a cloud.
    saved = tmp_path / "saved"
    saved.mkdir()
    for name in ("small.qcow2", "small.raw"):
        for file in (name, f"{name}.{proof.ENDING}"):
            shutil.copy(signed / file, saved)
    assert {check["status"] for check in verified(saved).values()} == {"ok"}

    with (saved / "small.qcow2").open("r+b") as opened:
        opened.seek(MIB)
        opened.write(b"changed")
    checks = verified(saved)
    assert {name for name, check in checks.items() if check["status"] != "ok"} >= {
        "digests",
        "signature",
        "attestations",
    }


def test_each_image_is_read_once(built: Path, tmp_path: Path) -> None:
    def read() -> int:
        found = re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())
        assert found
        return int(found[1])

    def held(path: Path) -> int:
        with path.open("rb") as file:
            return sum(end - start for start, end in extents(file.fileno(), path.stat().st_size))

    size = sum(held(built / f"small.{each}") for each in ("qcow2", "raw"))
    home, before = Home(tmp_path / "signer", tmp_path / "cache"), read()
    Keyring(home).new("p256", KeyKind.P256)
    sign_handler.run(home, str(built), sign_handler.Keys(bundles="p256"), method="SHA-384")
    # All digests, the inspection, the signature and the bundle; the rest is keys, certificates and documents.
    assert size <= read() - before < size + 2 * MIB


@pytest.mark.parametrize("change", ["another file", "another format", "an older description"])
def test_what_was_not_built_is_not_signed(built: Path, tmp_path: Path, change: str) -> None:
    about = built / f"small.{ABOUT}"
    if change == "another file":
        (built / "small.raw").write_bytes(bytes(MIB))
    elif change == "another format":
        process.run(["qemu-img", "convert", "-O", "vmdk", built / "small.qcow2", built / "small.vmdk"])
    else:
        data = json.loads(about.read_text())
        del data["products"]
        about.write_text(json.dumps(data))
    with pytest.raises(PipelineError, match="file that was built"):
        sign_handler.run(Home(tmp_path / "s", tmp_path / "c"), str(built), sign_handler.Keys(), method="SHA-256")
    assert not list(built.glob(f"*.{seal.SIGNATURE}"))


def test_whatever_was_built_is_signed(built: Path, tmp_path: Path) -> None:
    """Kernels and ramdisks, too."""
    kernel, about = built / "small.aki", built / f"small.{ABOUT}"
    kernel.write_bytes(b"a kernel" * 100)
    data = json.loads(about.read_text())
    data["products"]["aki"] = hashlib.sha256(kernel.read_bytes()).hexdigest()
    about.write_text(json.dumps(data))
    sign_handler.run(Home(tmp_path / "s", tmp_path / "c"), str(built), sign_handler.Keys(), method="SHA-256")
    assert len(list(built.glob(f"*.{seal.SIGNATURE}"))) == 3


def test_a_key_for_attestations_must_be_there(built: Path, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="there is no key 'notary'"):
        sign_handler.run(
            Home(tmp_path / "s", tmp_path / "c"), str(built), sign_handler.Keys(attestations="notary"), method="SHA-256"
        )
